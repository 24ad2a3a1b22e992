/** What somebody made to break a reader, beside an honest room, against every reader there is. */
import { runInNewContext } from "node:vm";

import { expect } from "chai";

import { ArchiveFile } from "../../io/archive-file.ts";
import type { ContentStore } from "../../io/content/store.ts";
import { cidOf, isCid, type Cid } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import { manifestIn, MAX_MESSAGES } from "../../protocol/manifest.ts";
import { decodeShard } from "../../protocol/shard.ts";
import type { Verdict } from "../../protocol/verdict.ts";
import { DEFAULT_OPTIONS } from "../../tasks/anchor-options.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import { exportHistory } from "../../tasks/export.ts";
import { history as readHistory } from "../../tasks/history.ts";
import { importHistory } from "../../tasks/import.ts";
import { register } from "../../tasks/keys-register.ts";
import { send, type SendOptions } from "../../tasks/send.ts";
import { storeText } from "../fixtures/anchor.ts";
import { bundleReplay } from "../fixtures/browser-bundle.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf, History } from "../fixtures/history.ts";
import { HOSTILE_ANCHORS, hostileBlocks, NOWHERE } from "../fixtures/hostile-anchors.ts";
import { hostility, outcome } from "../fixtures/hostility.ts";
import { getAll, getOk, waitForBlock } from "../fixtures/indexer-client.ts";
import { encodeInput, runReplay } from "../fixtures/portable-replay.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";
import { useIndexers } from "../fixtures/served-history.ts";

/** How many places the hostile anchors list: none of these messages is anywhere. */
function countListed(blocks: ReadonlyMap<Cid, Uint8Array>): number {
  let count = 0;
  for (const { text } of HOSTILE_ANCHORS) {
    const manifest = isCid(text) ? manifestIn(blocks.get(text)) : null;
    for (const link of manifest?.rooms ?? []) {
      try {
        for (const cids of decodeShard(blocks.get(link) ?? new Uint8Array(0)).values()) count += cids.length;
      } catch {
        // It is no shard, and lists nothing.
      }
    }
  }
  return count;
}

describe("What somebody made to break a reader", function () {
  this.timeout(120_000);
  const folder = useFolder();
  const startIndexer = useIndexers();

  it("is told apart by a replay, and costs an honest room nothing", () => {
    const { history, room, anchors, entries } = hostility(20_000);
    const replay = history.replay();
    expect(replay.anchors.map(({ verdict }) => outcome(verdict))).to.deep.equal(anchors);
    expect(replay.entries(room).map(({ verdict }) => outcome(verdict))).to.deep.equal(entries);
  });

  it("is told apart in the same way where there is no Node", async () => {
    const { history, room, anchors, entries } = hostility(200);
    const { deployment, events, blocks } = history;
    const input = encodeInput({ deployment, events, blocks: [...blocks] });
    const globals = { TextEncoder, TextDecoder, input };
    const said: unknown = runInNewContext(`${await bundleReplay()}; JSON.stringify(dmtp.runReplay(input))`, globals);
    const { implementation, result } = JSON.parse(said as string) as ReturnType<typeof runReplay>;
    expect({ implementation, result }).to.deep.equal({ ...runReplay(input), implementation: "portable" });
    const found = JSON.parse(result) as {
      anchors: Verdict[];
      rooms: { room: string; entries: { verdict: Verdict }[] }[];
    };
    expect(found.anchors.map(outcome)).to.deep.equal(anchors);
    const ours = found.rooms.find((each) => each.room === room);
    expect(ours?.entries.map(({ verdict }) => outcome(verdict))).to.deep.equal(entries);
  });

  it("is listed by the indexer as what it is, and the honest room is complete", async () => {
    const { history, room, anchors, entries } = hostility(2_000);
    const chain = new ScriptedChain(history);
    const { url } = await startIndexer(chain, new WithheldStore(history.blocks));
    const settle = (): Promise<void> => waitForBlock(url, history.events.at(-1)!.blockNumber, () => true);
    await settle();
    const listed = (await getAll(url, "/v1/anchors")) as { verdict: Verdict; text: string }[];
    expect(listed.map(({ verdict }) => outcome(verdict))).to.deep.equal(anchors);
    expect(listed.map(({ text }) => text)).to.deep.equal(
      history.events.flatMap((each) => (each.kind === "anchor" ? each.text : [])),
    );
    const messages = (await getAll(url, `/v1/rooms/${room}/messages`)) as { verdict: Verdict }[];
    expect(messages.map(({ verdict }) => outcome(verdict))).to.deep.equal(entries);
    // A new anchor is served while a thousand others wait for what nobody has.
    history.anchor(deltaOf([room, [history.message(BOB, ALICE, { seq: 1 })]]));
    chain.grow();
    await settle();
    expect(await getOk(url, `/v1/rooms/${room}`)).to.have.nested.property("room.counts.verified", 7);
  });

  it("a manifest with 262,144 messages that nobody has is one, and the next anchor is decided all the same", () => {
    const history = new History();
    for (const person of [ALICE, BOB]) history.register(person);
    const cids = Array.from({ length: MAX_MESSAGES }, (_, i) => cidOf(Uint8Array.of(i, i >> 8, i >> 16)));
    history.anchor(deltaOf([history.room(ALICE, CAROL), cids]), null);
    history.anchor(deltaOf([history.room(ALICE, BOB), [history.message(ALICE, BOB)]]), null);
    const replay = history.replay();
    expect(replay.anchors.map(({ verdict }) => outcome(verdict))).to.deep.equal(["verified", "verified"]);
    expect(replay.missing().size).to.equal(MAX_MESSAGES);
    expect(replay.entries(history.room(ALICE, BOB)).map(({ verdict }) => outcome(verdict))).to.deep.equal(["verified"]);
  });

  describe("on a chain", () => {
    let chain: TestDeployment;
    before(async () => {
      chain = await openDeployment();
    });
    after(() => chain.close());

    it("stops neither anchor, audit, history, export nor import", async () => {
      const session = chain.open();
      const blocks = hostileBlocks();
      const { content: honest } = session;
      const content: ContentStore = {
        name: honest.name,
        get: async (cid) => blocks.get(cid) ?? honest.get(cid),
        put: (each) => honest.put(each),
        pin: (roots, options) => honest.pin(roots, options),
        missing: (roots, limit) => honest.missing(roots, limit),
        isPinned: (cids) => honest.isPinned(cids),
        close: () => Promise.resolve(),
      };
      const reading = chain.open({ content });
      const write = (text: string, options: SendOptions = {}) =>
        send(reading, chain.alice, [{ to: chain.bob, content: contentOfText(text) }], undefined, options);
      await register(reading, chain.alice);
      await register(reading, chain.bob);
      await write("one");
      await anchor(reading);
      const { signer } = await session.signer(chain.operator);
      for (const text of [...HOSTILE_ANCHORS.map((each) => each.text), ...NOWHERE.slice(0, 40)])
        await storeText(signer, session.deployment, text);
      // What nobody can read may be messages of hers, and is above the tip: only who says so writes and builds past it, once.
      expect(await codeOfAsync(() => write("two"))).to.equal("CONTENT_MISSING");
      await write("two", { acceptsMissing: true });
      await write("three");
      expect(await codeOfAsync(() => anchor(reading))).to.equal("CONTENT_MISSING");
      await anchor(reading, { ...DEFAULT_OPTIONS, isFork: true });

      const { data, error } = await audit(reading);
      const count = (status: string): number => HOSTILE_ANCHORS.filter((each) => each.outcome === status).length;
      const missing = count("missing") + 40;
      expect(error?.code).to.equal("HISTORY_INCOMPLETE");
      expect(data).to.deep.include({
        anchors: { verified: 2, rejected: HOSTILE_ANCHORS.length - count("missing"), missing },
        messages: { verified: 3, rejected: 0, missing: countListed(blocks) },
      });
      const found = (data as { rejectedAnchors: { cid: string; verdict: Verdict }[] }).rejectedAnchors;
      expect(found.map(({ verdict }) => outcome(verdict))).to.deep.equal([
        ...HOSTILE_ANCHORS.map((each) => each.outcome),
        ...NOWHERE.slice(0, 40).map(() => "missing"),
      ]);
      const conversation = await readHistory(reading, chain.bob, chain.alice);
      expect(conversation.error).to.equal(undefined);
      expect((conversation.data as { messages: { text: string }[] }).messages.map(({ text }) => text)).to.deep.equal([
        ...["one", "two", "three"],
      ]);

      const path = `${folder()}/hostile.car`;
      expect((await exportHistory(reading, path, { room: null, wallet: null, since: 0 })).error?.code).to.equal(
        "HISTORY_INCOMPLETE",
      );
      await (await ArchiveFile.open(path)).close();
      const { environment } = session;
      const other = chain.open({ environment: { ...environment, dataDir: folder() } });
      const imported = await importHistory(other, path);
      const messages = { verified: 3, rejected: 0, missing: countListed(blocks) };
      expect(imported.data).to.deep.include({ messages });
      expect((await audit(other)).data).to.deep.include({ messages });
      for (const each of [other, reading, session]) await each.close();
    });
  });
});
