import { mkdtempSync, rmSync } from "node:fs";
import { request, type IncomingMessage } from "node:http";
import { connect } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect } from "chai";

import { z } from "zod";

import { decodeCursor, encodeCursor } from "../../indexer/http/cursor.ts";
import { ROUTES } from "../../indexer/http/routes.ts";
import { startIndexerOn, type Indexer } from "../../indexer/indexer.ts";
import { toHex } from "../../protocol/bytes.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import type { KeyEvent } from "../../protocol/event.ts";
import type { RoomId } from "../../protocol/room.ts";
import { ALICE, BOB, CAROL, deltaOf, History, Person } from "../fixtures/history.ts";
import { get, getAll, getOk, waitForBlock } from "../fixtures/indexer-client.ts";
import { codeOf } from "../fixtures/refusal.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

describe("the indexer's HTTP interface", function () {
  this.timeout(20_000);
  const folder = mkdtempSync(join(tmpdir(), "dmtp-http-"));
  const history = new History();
  const lines: string[] = [];
  let indexer: Indexer;
  let url: string;
  let room: RoomId;
  let duplicate: Cid;
  let forged: Cid;

  before(async () => {
    for (const person of [ALICE, BOB, CAROL]) history.register(person);
    room = history.room(ALICE, BOB);
    let seq = 0;
    let lost: Cid | undefined;
    for (let anchor = 0; anchor < 7; anchor++) {
      const cids = Array.from({ length: 5 }, () => history.message(ALICE, BOB, { seq: ++seq }));
      if (anchor === 1) [duplicate] = cids as [Cid];
      if (anchor === 3) {
        forged = history.message(BOB, ALICE, { seq: 9, signer: CAROL.identity(), seen: [cidOf(fixedBytes("lost"))] });
        lost = history.message(BOB, ALICE, { seq: 3, seen: [cidOf(fixedBytes("lost"))] });
        cids.push(duplicate, forged, history.put(fixedBytes("no envelope")), lost);
      }
      history.anchor(deltaOf([room, cids]));
    }
    // Rooms enough for pages, each with its own second wallet.
    const others = Array.from({ length: 11 }, (_, i) => new Person(`Other ${i}`));
    for (const other of others) history.register(other);
    const rooms = others.map((other) => [history.room(CAROL, other), [history.message(CAROL, other)]] as const);
    history.anchor(deltaOf(...rooms));
    history.anchorText("ipfs://not a DMTP CID");
    history.revoke(CAROL);

    const chain = new ScriptedChain(history);
    chain.finalized = history.events.at(-3)!.blockNumber;
    indexer = await startIndexerOn(chain, {
      content: new WithheldStore(history.blocks),
      indexPath: join(folder, "index"),
      host: "127.0.0.1",
      port: 0,
      pollIntervalMs: 5,
      log: (line) => lines.push(line),
    });
    url = indexer.url;
    await waitForBlock(url, history.events.at(-1)!.blockNumber);
  });

  after(async () => {
    await indexer.close();
    rmSync(folder, { recursive: true });
    expect(lines, "nothing that happens here is a defect").to.deep.equal([]);
  });

  it("shows every message with its verdict and where it was anchored, in chain order", async () => {
    const entries = history.replay().entries(room);
    const messages = await getAll(url, `/v1/rooms/${room}/messages`);
    expect(messages.map(({ cid }) => cid)).to.deep.equal(entries.map(({ cid }) => cid));
    expect(messages.map(({ verdict }) => verdict)).to.deep.equal(entries.map(({ verdict }) => verdict));
    const rejected = messages.filter(({ verdict }) => verdict.status === "rejected");
    expect(rejected.map(({ verdict }) => verdict.code)).to.have.members([
      "DUPLICATE",
      "SIGNATURE_INVALID",
      "BLOCK_NOT_CANONICAL",
    ]);
    const anchor = history.replay().anchors[0]!.event;
    expect(messages[0]).to.deep.include({
      room,
      sender: ALICE.address,
      receiver: BOB.address,
      senderKeyVersion: 1,
      receiverKeyVersion: 1,
      seq: 1,
      timestamp: 1_700_000_000_000,
      sizeBytes: history.blocks.get(messages[0].cid)!.length,
      binding: "signature",
      anchorIndex: 0,
      ordinal: 0,
      blockNumber: anchor.blockNumber,
      blockHash: anchor.blockHash,
      transactionHash: anchor.transactionHash,
      final: true,
    });
    expect(messages[0]).not.to.have.property("block");
    const [first] = await getAll(url, `/v1/rooms/${room}/messages?include=block`);
    expect(new Uint8Array(Buffer.from(first.block, "base64"))).to.deep.equal(history.blocks.get(first.cid));
  });

  it("shows a room with counts, root, omissions and its wallets", async () => {
    const { room: shown, at } = await getOk(url, `/v1/rooms/${room}`);
    const state = history.replay().roomState(room)!;
    expect(at.block).to.equal(history.events.at(-1)!.blockNumber);
    expect(shown).to.deep.include({
      members: [ALICE.address, BOB.address].sort(),
      counts: { verified: 36, rejected: 3, missing: 0 },
      n: state.range.size,
      lastAnchor: 6,
      lacks: { messages: [], anchors: [] },
    });
    expect(shown.omissions.gaps).to.deep.equal([
      { sender: BOB.address, senderKeyVersion: 1, seq: 1 },
      { sender: BOB.address, senderKeyVersion: 1, seq: 2 },
    ]);
    expect(shown.omissions.unseen).to.deep.equal([cidOf(fixedBytes("lost"))]);
  });

  it("says the tip, the state root and the totals that the replay has", async () => {
    const replayed = history.replay();
    const status = await getOk(url, "/status");
    expect(status.stateRoot).to.equal(toHex(replayed.state.root));
    expect(status.tip).to.deep.equal({ anchorIndex: 7, cid: replayed.tip!.cid, seq: 7 });
    expect(status.counts).to.deep.equal({
      rooms: 12,
      keys: 15,
      anchors: { verified: 8, rejected: 1, missing: 0 },
      messages: { verified: 47, rejected: 3, missing: 0 },
    });
    expect(status.deployment).to.deep.equal(history.deployment);
  });

  it("gives one message by its CID, at the place where it counts", async () => {
    const { message, elsewhere } = await getOk(url, `/v1/messages/${duplicate}`);
    expect(message).to.deep.include({ cid: duplicate, anchorIndex: 1, verdict: { status: "verified" } });
    expect(elsewhere.map((place: { verdict: { code: string } }) => place.verdict.code)).to.deep.equal(["DUPLICATE"]);
    const { message: bad } = await getOk(url, `/v1/messages/${forged}`);
    expect(bad.verdict).to.deep.equal({
      status: "rejected",
      code: "SIGNATURE_INVALID",
      reason: "the signature is not by the sender's key",
    });
  });

  it("gives a raw block that its CID names, to be kept for ever", async () => {
    const response = await fetch(`${url}/v1/blocks/${forged}`);
    expect(response.headers.get("content-type")).to.equal("application/vnd.ipld.raw");
    expect(response.headers.get("cache-control")).to.match(/immutable/);
    expect(cidOf(new Uint8Array(await response.arrayBuffer()))).to.equal(forged);
    const again = await fetch(`${url}/v1/blocks/${forged}`, { headers: { "if-none-match": `"${forged}"` } });
    expect(again.status).to.equal(304);
  });

  it("shows a wallet's keys and tombstones, and anchors with their manifests", async () => {
    const { items, current, wallet } = await getOk(url, `/v1/wallets/${CAROL.address}/keys`);
    const registered = history.events.find(
      (event) => event.kind === "key" && event.wallet === CAROL.address,
    ) as KeyEvent;
    expect(wallet).to.equal(CAROL.address);
    expect(current).to.deep.equal({ status: "revoked", version: 1 });
    expect(items.map(({ kind, version }: { kind: string; version: number }) => [kind, version])).to.deep.equal([
      ["key", 1],
      ["revocation", 2],
    ]);
    expect(items[0]).to.deep.include({
      binding: "signature",
      signingKey: toHex(CAROL.identity().signingKey),
      encryptionKey: toHex(CAROL.identity().encryptionKey),
      verdict: { status: "verified" },
      documentVerdict: { status: "verified" },
      signature: toHex(registered.signature),
      hasCode: false,
      logIndex: registered.logIndex,
      final: true,
    });
    expect(items[1].final).to.equal(false);

    const { anchor } = await getOk(url, "/v1/anchors/3");
    const { manifest, event } = history.replay().anchors[3]!;
    expect(anchor).to.deep.include({ cid: event.cid, counts: { verified: 6, rejected: 3, missing: 0 } });
    expect(anchor.manifest).to.deep.include({
      seq: 3,
      base: 2,
      count: 9,
      rooms: manifest!.rooms,
      state: toHex(manifest!.state),
    });
    const [last] = await getAll(url, "/v1/anchors?order=desc");
    expect(last).to.deep.include({ index: 8, cid: null, text: "ipfs://not a DMTP CID", manifest: null });
    expect(last.verdict.code).to.equal("CID_NOT_CANONICAL");
  });

  it("lists each item exactly once, whatever the page size and the direction", async () => {
    const lists = [
      "/v1/rooms",
      `/v1/rooms?wallet=${CAROL.address}`,
      `/v1/rooms/${room}/messages`,
      "/v1/anchors",
      `/v1/wallets/${CAROL.address}/keys`,
    ];
    for (const list of lists) {
      const whole = await getAll(url, list);
      for (const limit of [1, 2, 3, whole.length, whole.length + 1]) {
        expect(await getAll(url, list, limit), `${list} by ${limit}`).to.deep.equal(whole);
      }
    }
    for (const list of [`/v1/rooms/${room}/messages`, "/v1/anchors"]) {
      expect(await getAll(url, `${list}?order=desc`, 4)).to.deep.equal((await getAll(url, list)).reverse());
    }
    expect(await getAll(url, `/v1/rooms?wallet=${CAROL.address}`)).to.have.length(11);
    expect(
      await getAll(url, `/v1/rooms?wallet=${BOB.wallet.address.toUpperCase().replace("0X", "0x")}`),
    ).to.have.length(1);
    expect(await getAll(url, `/v1/rooms?wallet=0x${"1".repeat(40)}`)).to.deep.equal([]);
  });

  it("refuses a cursor that was made up, damaged, or given by another list", async () => {
    const { next } = (await getOk(url, `/v1/rooms/${room}/messages?limit=2`)) as { next: string };
    const other = (await getOk(url, "/v1/anchors?limit=2")).next;
    const flipped = next.slice(0, -2) + (next.at(-2) === "A" ? "B" : "A") + next.slice(-1);
    const madeUp = Buffer.from("[0,1]").toString("base64url");
    const basis = { index: 0, blockNumber: 1, blockHash: "00" };
    const longer = encodeCursor("list", { place: [1, 2, 3], basis });
    expect(codeOf(() => decodeCursor("list", z.tuple([z.int()]), longer))).to.equal("PARAMETER_INVALID");
    for (const cursor of [flipped, other, madeUp, `${next}=`, `${next}A`, "null", "", "a".repeat(10_000)]) {
      const { status, body } = await get(url, `/v1/rooms/${room}/messages?cursor=${cursor}`);
      expect([status, body.code], cursor.slice(0, 50)).to.deep.equal([400, "PARAMETER_INVALID"]);
    }
    expect((await get(url, `/v1/rooms/${room}/messages?order=desc&cursor=${next}`)).status).to.equal(400);
    expect((await getOk(url, `/v1/rooms/${room}/messages?limit=5&cursor=${next}`)).items).to.have.length(5);
  });

  it("answers every kind of bad input with a problem document, never with a 500", async () => {
    const long = "f".repeat(10_000);
    const hostile = [
      "__proto__",
      "constructor",
      "..%2f..%2fetc%2fpasswd",
      "%00",
      long,
      "%F0%9F%92%A9",
      "-1",
      "1e9",
      "NaN",
      "[a]",
      "' OR 1=1 --",
      "null",
      "0x",
      "%ff",
    ];
    for (const text of hostile) {
      const paths = [
        `/${text}`,
        `/v1/${text}`,
        `/v1/rooms/${text}`,
        `/v1/rooms/${text}/messages`,
        `/v1/messages/${text}`,
        `/v1/blocks/${text}`,
        `/v1/wallets/${text}/keys`,
        `/v1/anchors/${text}`,
        `/v1/rooms?wallet=${text}`,
        `/v1/rooms?limit=${text}`,
        `/v1/rooms?cursor=${text}`,
        `/v1/anchors?order=${text}`,
        `/v1/anchors?since=${text}`,
        `/v1/anchors?verdict=${text}`,
        `/v1/anchors?room=${text}`,
        `/v1/rooms?since=${text}`,
        `/v1/events?after=${text}`,
        `/v1/events?room=${text}`,
        `/v1/events?wallet=${text}`,
        `/v1/anchors?limit=10&limit=${text}`,
        `/v1/anchors?limit[]=${text}`,
        `/v1/anchors?${text}=1`,
        `/v1/rooms/${room}/messages?include=${text}`,
        `/status?${text}`,
      ];
      for (const path of paths) {
        const { status, body } = await rawGet(url, path);
        expect([400, 404], `${path.slice(0, 80)}: ${JSON.stringify(body)}`).to.include(status);
        expect(body.type).to.equal(`urn:dmtp:error:${body.code}`);
        expect(body.detail.length).to.be.lessThan(200);
      }
    }
    for (const limit of ["0", "201", "01", "+1", "1.0", " 1", ""]) {
      expect((await get(url, `/v1/rooms?limit=${limit}`)).status, limit).to.equal(400);
    }
    const mistyped = "0x" + "aB".repeat(20);
    expect((await get(url, `/v1/wallets/${mistyped}/keys`)).body.code).to.equal("ADDRESS_INVALID");
    expect((await get(url, `/v1/rooms?wallet=alice.eth`)).body.code).to.equal("ADDRESS_INVALID");
    expect(
      (await get(url, `/v1/messages/bafybeigdyrzt5sfp7udm7hu76uh7y26nf3efuylqabf3oclgtqy55fbzdi`)).status,
    ).to.equal(400);
  });

  it("answers 404 for what there is not", async () => {
    const nothing = cidOf(fixedBytes("nothing"));
    const missing = [
      `/v1/rooms/0x${"0".repeat(64)}`,
      `/v1/rooms/0x${"0".repeat(64)}/messages`,
      `/v1/messages/${nothing}`,
      `/v1/blocks/${nothing}`,
      `/v1/wallets/0x${"1".repeat(40)}/keys`,
      "/v1/anchors/9",
      "/v1/anchors/999999999999999",
    ];
    for (const path of missing) expect((await get(url, path)).body.code, path).to.equal("NOT_FOUND");
  });

  it("answers only GET and HEAD, takes no body, and tells nothing about itself", async () => {
    const post = await fetch(`${url}/v1/rooms`, { method: "DELETE" });
    expect([post.status, post.headers.get("allow")]).to.deep.equal([405, "GET, HEAD"]);
    const posted = await fetch(`${url}/v1/rooms`, { method: "POST", body: "x".repeat(100_000) });
    expect([posted.status, posted.headers.get("connection")]).to.deep.equal([405, "close"]);
    const withBody = await new Promise<IncomingMessage>((resolve, reject) => {
      request(`${url}/v1/rooms`, { method: "GET", headers: { "Content-Length": 100_000 } }, resolve)
        .once("error", reject)
        .flushHeaders();
    });
    expect([withBody.statusCode, withBody.headers.connection]).to.deep.equal([400, "close"]);
    withBody.destroy();
    const head = await fetch(`${url}/v1/rooms`, { method: "HEAD" });
    expect([head.status, await head.text()]).to.deep.equal([200, ""]);
    expect(head.headers.get("x-powered-by")).to.equal(null);
    expect(head.headers.get("x-content-type-options")).to.equal("nosniff");
    expect(head.headers.get("content-security-policy")).to.match(/default-src 'none'/);
  });

  it("cuts off a client that does not finish its request", async function () {
    this.timeout(15_000);
    const { port } = new URL(url);
    const startedAtMs = performance.now();
    await new Promise<void>((resolve) => {
      const socket = connect(Number(port), "127.0.0.1", () => socket.write("GET /v1/rooms HTTP/1.1\r\nHost: a\r\n"));
      socket.on("error", () => undefined).on("close", () => resolve());
      socket.resume();
    });
    expect(performance.now() - startedAtMs).to.be.lessThan(6_000);
  });

  it("documents every path that it serves, and serves every path that it documents", async () => {
    const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
      openapi: string;
      paths: Record<
        string,
        { get: { operationId: string; parameters?: { name: string; in: string }[]; responses: object } }
      >;
      components: { schemas: Record<string, object> };
    };
    expect(document.openapi).to.equal("3.1.0");
    expect(Object.keys(document.paths)).to.have.members([...ROUTES.map(({ path }) => path), "/openapi.json"]);
    const values: Record<string, string> = { room, cid: duplicate, wallet: ALICE.address, index: "0" };
    for (const [path, { get: operation }] of Object.entries(document.paths)) {
      const names = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name);
      const documented = (operation.parameters ?? []).filter((parameter) => parameter.in === "path");
      expect(
        documented.map(({ name }) => name),
        path,
      ).to.deep.equal(names);
      const served = await fetch(url + path.replaceAll(/\{(\w+)\}/g, (_, name: string) => values[name]!));
      expect(served.status, path).to.equal(200);
      expect(Object.keys(operation.responses), path).to.include("200");
    }
    const ids = Object.values(document.paths).map(({ get: { operationId } }) => operationId);
    expect(new Set(ids).size).to.equal(ids.length);
    const references = JSON.stringify(document).matchAll(/"\$ref":"#\/components\/schemas\/(\w+)"/g);
    for (const [, name] of references) expect(document.components.schemas).to.have.property(name!);
    expect(JSON.stringify(document)).not.to.include("$defs");
  });
});

/** A path as it is: fetch would tidy it up. */
function rawGet(
  url: string,
  path: string,
): Promise<{ status: number; body: { type: string; code: string; detail: string } }> {
  const { port } = new URL(url);
  return new Promise((resolve, reject) => {
    request({ port, host: "127.0.0.1", path: path.replaceAll(" ", "%20"), agent: false }, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (part: string) => (text += part));
      response.on("end", () => resolve({ status: response.statusCode ?? 0, body: JSON.parse(text) as never }));
    })
      .on("error", reject)
      .end();
  });
}
