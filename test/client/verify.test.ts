import { expect } from "chai";

import { IndexerClient } from "../../client/indexer.ts";
import { verifyRoom } from "../../client/verify.ts";
import { ChainClient } from "../../io/chain/client.ts";
import { httpRpc } from "../../io/chain/rpc/http-rpc.ts";
import { EmbeddedStore } from "../../io/content/embedded.ts";
import { startIndexer } from "../../indexer/indexer.ts";
import { toHex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import { rootOf } from "../../protocol/merkle.ts";
import { findOmissions } from "../../protocol/omissions.ts";
import type { RoomId } from "../../protocol/room.ts";
import { deploy, startChain } from "../fixtures/chain.ts";
import { Conversation } from "../fixtures/conversation.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf, DEPLOYMENT, History } from "../fixtures/history.ts";
import { waitForBlock } from "../fixtures/indexer-client.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";
import { useIndexers } from "../fixtures/served-history.ts";

/** Verified, rejected of each kind that a room can show, duplicate, missing; two rooms an anchor, and two lines of anchors. */
function makeHistory(): { history: History; room: RoomId; lost: Cid } {
  const history = new History();
  history.register(ALICE);
  history.register(BOB);
  const room = history.room(ALICE, BOB);
  const other = history.room(ALICE, CAROL);
  const first = history.message(ALICE, BOB, { text: "one" });
  const early = history.message(CAROL, ALICE, { text: "before her key" });
  history.anchor(deltaOf([room, [first]], [other, [early]]));
  const { tip } = history.replay();
  history.register(CAROL);
  const forged = history.message(BOB, ALICE, { text: "two", signer: CAROL.identity() });
  const foreign = history.message(ALICE, CAROL, { text: "elsewhere" });
  history.anchor(deltaOf([room, [forged, first, foreign, history.put(new Uint8Array([0xa0]))]]));
  history.anchorText("not a CID");
  const lost = history.message(ALICE, BOB, { seq: 2, text: "lost" });
  history.anchor(deltaOf([other, [history.message(ALICE, CAROL)]]));
  history.anchor(deltaOf([room, [lost]]));
  // Another line, on the first anchor: both are verified.
  history.anchor(deltaOf([room, [history.message(BOB, ALICE, { text: "in the other line" })]]), tip);
  history.revoke(BOB);
  history.anchor(deltaOf([room, [history.message(BOB, ALICE, { text: "after his tombstone", seq: 2 })]]));
  return { history, room, lost };
}

type Json = Record<string, unknown> & { items: Json[] };
/** Changes an answer on its way, as an indexer that lies would give it. */
type Lie = (path: string, answer: Json) => unknown;

function lying(lie: Lie): typeof fetch {
  return async (input, init) => {
    const path = new URL(input as string).pathname;
    const response = await fetch(input, init);
    if (!response.ok) return response;
    if (path.startsWith("/v1/blocks/")) {
      const bytes = new Uint8Array(await response.arrayBuffer());
      return new Response((lie(path, bytes as never) ?? bytes) as Uint8Array<ArrayBuffer>);
    }
    const answer = (await response.json()) as Json;
    return new Response(JSON.stringify(lie(path, answer) ?? answer));
  };
}

describe("the keys of a room that a client verifies", function () {
  this.timeout(30_000);
  const start = useIndexers();

  it("says of each message how its key is known, and not by the word of the indexer", async () => {
    const story = new History();
    story.register(ALICE);
    story.register(BOB, { hasCode: true, signature: new Uint8Array(0) });
    const between = story.room(ALICE, BOB);
    const cids = [
      story.message(ALICE, BOB),
      story.message(BOB, ALICE),
      story.message(BOB, ALICE, { senderKeyVersion: 7 }),
    ];
    story.anchor(deltaOf([between, cids]));
    const served = await start(new ScriptedChain(story), new WithheldStore(story.blocks));
    await waitForBlock(served.url, story.events.at(-1)!.blockNumber, 0);
    for (const events of [null, story.events]) {
      const { messages } = await verifyRoom(new IndexerClient(served.url), DEPLOYMENT, between, events);
      expect(messages.map(({ binding }) => binding)).to.deep.equal(["signature", "chain", null]);
    }
    const inverted = lying((path, { items }) => {
      if (path.endsWith("/messages")) for (const item of items) item["binding"] = "signature";
    });
    const client = new IndexerClient(served.url, { fetch: inverted });
    expect(await codeOfAsync(() => verifyRoom(client, DEPLOYMENT, between))).to.equal("ANSWER_UNTRUE");
  });
});

describe("what a client finds of accounts", function () {
  this.timeout(30_000);
  const start = useIndexers();
  let url: string;
  let story: History;
  let between: RoomId;

  /** A good anchor, one that counts a message too many, and one with the state root of something else. */
  beforeEach(async () => {
    story = new History();
    for (const person of [ALICE, BOB]) story.register(person);
    between = story.room(ALICE, BOB);
    const draft = (seq: number): ReturnType<History["draft"]>["manifest"] =>
      story.draft(deltaOf([between, [story.message(ALICE, BOB, { seq })]])).manifest;
    story.anchor(deltaOf([between, [story.message(ALICE, BOB, { seq: 1 })]]));
    const counted = draft(2);
    story.anchorManifest({ ...counted, count: counted.count + 1 });
    story.anchorManifest({ ...draft(3), state: new Uint8Array(32) });
    const served = await start(new ScriptedChain(story), new WithheldStore(story.blocks));
    url = served.url;
    await waitForBlock(url, story.events.at(-1)!.blockNumber, 0);
  });

  /** Calls the anchors with these indexes verified, or only their messages accounted. */
  const claim = (indexes: readonly number[], isVerified: boolean): IndexerClient => {
    const lie: Lie = (path, { items }) => {
      if (path.startsWith("/v1/blocks/")) return;
      for (const item of items) {
        if (path.endsWith("/messages") && indexes.includes(item["anchorIndex"] as number)) item["accounted"] = true;
        if (!isVerified || path !== "/v1/anchors" || !indexes.includes(item["index"] as number)) continue;
        item["verdict"] = { status: "verified" };
      }
    };
    return new IndexerClient(url, { fetch: lying(lie) });
  };

  it("is true of messages whose anchor is verified, and of no others, however they were verified", async () => {
    for (const events of [null, story.events]) {
      const { messages } = await verifyRoom(new IndexerClient(url), DEPLOYMENT, between, events);
      expect(messages.map(({ verdict, accounted }) => [verdict.status, accounted])).to.deep.equal([
        ["verified", true],
        ["verified", false],
        ["verified", false],
      ]);
    }
  });

  it("refutes an indexer that calls a message accounted whose anchor it calls rejected", async () => {
    for (const events of [null, story.events])
      expect(await codeOfAsync(() => verifyRoom(claim([1], false), DEPLOYMENT, between, events))).to.equal(
        "ANSWER_UNTRUE",
      );
  });

  it("refutes one that calls the anchor verified too: by its count without the chain's events, by its state with them", async () => {
    expect(await codeOfAsync(() => verifyRoom(claim([1], true), DEPLOYMENT, between))).to.equal("ANSWER_UNTRUE");
    for (const index of [1, 2])
      expect(await codeOfAsync(() => verifyRoom(claim([index], true), DEPLOYMENT, between, story.events))).to.equal(
        "ANSWER_UNTRUE",
      );
  });

  it("refutes one that calls a good anchor rejected, and its messages not accounted", async () => {
    const client = new IndexerClient(url, {
      fetch: lying((path, { items }) => {
        if (path.endsWith("/messages")) Object.assign(items[0]!, { accounted: false });
        if (path === "/v1/anchors")
          Object.assign(items[0]!, { verdict: { status: "rejected", code: "STATE_MISMATCH", reason: "" } });
      }),
    });
    expect(await codeOfAsync(() => verifyRoom(client, DEPLOYMENT, between, story.events))).to.equal("ANSWER_UNTRUE");
  });
});

describe("a room that a client verifies", function () {
  this.timeout(30_000);
  const start = useIndexers();
  const folder = useFolder();
  let url: string;
  let history: History;
  let room: RoomId;
  let lost: Cid;

  beforeEach(async () => {
    ({ history, room, lost } = makeHistory());
    const content = new WithheldStore(history.blocks);
    content.withheld.add(lost);
    ({ url } = await start(new ScriptedChain(history), content));
    await waitForBlock(url, history.events.at(-1)!.blockNumber, 1);
  });

  it("has the verdicts and the root of the protocol's own replay, with and without the chain's events", async () => {
    const replay = history.replay((cid) => (cid === lost ? undefined : history.blocks.get(cid)));
    const expected = replay.entries(room).map(({ cid, anchorIndex, ordinal, verdict }) => ({
      cid,
      anchorIndex,
      ordinal,
      verdict: verdict.status === "rejected" ? verdict.code : verdict.status,
    }));
    const { range } = replay.roomState(room)!;
    expect(new Set(expected.map(({ verdict }) => verdict))).to.deep.equal(
      new Set([
        "verified",
        "SIGNATURE_INVALID",
        "DUPLICATE",
        "FOREIGN_ROOM",
        "ENVELOPE_MALFORMED",
        "missing",
        "KEY_REVOKED",
      ]),
    );
    for (const events of [null, history.events]) {
      const found = await verifyRoom(new IndexerClient(url), DEPLOYMENT, room, events);
      expect(
        found.messages.map(({ cid, anchorIndex, ordinal, verdict }) => ({
          cid,
          anchorIndex,
          ordinal,
          verdict: verdict.status === "rejected" ? verdict.code : verdict.status,
        })),
      ).to.deep.equal(expected);
      expect(found.state).to.deep.equal({ n: range.size, root: toHex(rootOf(range)) });
      expect(found.messages[0]!.envelope!.sender).to.equal(ALICE.address);
      expect(found.omissions).to.deep.equal(findOmissions(history.replay().entries(room)));
      expect(found.believed).to.deep.equal(events === null ? ["anchors", "keys"] : []);
    }
  });

  /** A lie in every answer to a path with this end. */
  const at =
    (end: string, change: (items: Json[], answer: Json) => unknown): Lie =>
    (path, answer) => {
      if (path.endsWith(end)) change(answer.items, answer);
    };
  const inMessages = (change: (items: Json[], answer: Json) => unknown): Lie => at("/messages", change);
  const without = (items: Json[], name: string, index: number): Json[] =>
    items.splice(0, items.length, ...items.filter((item) => item[name] !== index));
  const SIGNATURE_INVALID = { status: "rejected", code: "SIGNATURE_INVALID", reason: "" };
  const verdict = (item: Json | undefined, claimed: object): unknown => Object.assign(item!, { verdict: claimed });

  const lies: [string, Lie, string][] = [
    [
      "says that the chain alone vouches for a signed key",
      inMessages(([item]) => Object.assign(item!, { binding: "chain" })),
      "ANSWER_UNTRUE",
    ],
    ["leaves a message out", inMessages((items) => items.splice(1, 1)), "ANSWER_UNTRUE"],
    ["shows one twice", inMessages((items) => items.push(items[0]!)), "ANSWER_UNTRUE"],
    ["changes the order", inMessages((items) => items.reverse()), "ANSWER_UNTRUE"],
    [
      "calls a forged message verified",
      inMessages(([, item]) => verdict(item, { status: "verified" })),
      "ANSWER_UNTRUE",
    ],
    ["calls a good one rejected", inMessages(([item]) => verdict(item, SIGNATURE_INVALID)), "ANSWER_UNTRUE"],
    [
      "gives another block for a message",
      inMessages(([first, second]) => Object.assign(first!, { block: second!["block"] })),
      "BLOCK_HASH_MISMATCH",
    ],
    [
      "leaves an anchor out, and its messages",
      (path, { items }) => {
        if (path === "/v1/anchors") without(items, "index", 1);
        if (path.endsWith("/messages")) without(items, "anchorIndex", 1);
      },
      "ANSWER_UNTRUE",
    ],
    [
      "calls another manifest that anchor's",
      at("/v1/anchors", ([first, second]) => Object.assign(second!, { cid: first!["cid"], text: first!["text"] })),
      "ANSWER_UNTRUE",
    ],
    [
      "names a manifest for an anchor whose text is another",
      at("/v1/anchors", ([first]) => Object.assign(first!, { text: "something else" })),
      "ANSWER_UNTRUE",
    ],
    [
      "names another root",
      inMessages((_, { room: state }) => Object.assign(state as object, { root: `0x${"00".repeat(32)}` })),
      "ANSWER_UNTRUE",
    ],
    [
      "gives a key that the wallet did not sign",
      at("/keys", ([key]) => Object.assign(key!, { signingKey: toHex(CAROL.identity().signingKey) })),
      "ANSWER_UNTRUE",
    ],
    [
      "hides that a key was revoked",
      at("/keys", (items) => {
        if (items.length > 1) items.pop();
      }),
      "ANSWER_UNTRUE",
    ],
    [
      "flips a bit of a manifest",
      (path, bytes) => {
        if (!path.startsWith("/v1/blocks/")) return undefined;
        const flipped = Uint8Array.from(bytes as never);
        flipped[10] = (flipped[10] ?? 0) ^ 1;
        return flipped;
      },
      "BLOCK_HASH_MISMATCH",
    ],
    ["answers nonsense", (path) => (path.endsWith("/messages") ? { items: [{}] } : undefined), "ANSWER_MALFORMED"],
    ["answers with a list", (path) => (path.endsWith("/messages") ? [] : undefined), "ANSWER_MALFORMED"],
  ];
  it("is refused when the indexer lists its messages, or its anchors, without end", async () => {
    let pages = 0;
    /** One page again and again, each time with a new cursor. */
    const endless = (end: string): typeof fetch => {
      const lie = lying(at(end, (_, answer) => Object.assign(answer, { next: `page ${pages++}` })));
      return (path, init) => lie((path as string).replace(/&?cursor=[^&]*/, ""), init);
    };
    const ofMessages = new IndexerClient(url, { fetch: endless("/messages") });
    expect(await codeOfAsync(() => verifyRoom(ofMessages, DEPLOYMENT, room, null, 100_000))).to.equal(
      "ANSWER_MALFORMED",
    );
    expect(pages).to.be.within(10, 1_000);
    pages = 0;
    const ofAnchors = new IndexerClient(url, { fetch: endless("/v1/anchors") });
    expect(await codeOfAsync(() => verifyRoom(ofAnchors, DEPLOYMENT, room))).to.equal("ANSWER_MALFORMED");
    expect(pages).to.equal(2);
    pages = 0;
    const patient = new IndexerClient(url, { fetch: endless("/v1/rooms"), maxPages: 20 });
    const readAll = async (): Promise<void> => {
      for await (const each of patient.rooms()) expect(each.id).to.match(/^0x/);
    };
    expect(await codeOfAsync(readAll)).to.equal("ANSWER_MALFORMED");
    expect(pages).to.equal(20);
  });

  for (const [what, lie, code] of lies) {
    it(`is refused when the indexer ${what}`, async () => {
      const indexer = new IndexerClient(url, { fetch: lying(lie) });
      expect(await codeOfAsync(() => verifyRoom(indexer, DEPLOYMENT, room))).to.equal(code);
    });
  }

  it("is refused for a lie that only the chain can tell: the newest anchor left out everywhere", async () => {
    const last = history.replay().tip!.index;
    const older = new History();
    older.events.push(...history.events.slice(0, -1));
    const { range, lastIndex } = older.replay(history.get).roomState(room)!;
    const state = { n: range.size, root: toHex(rootOf(range)), lastAnchor: lastIndex };
    const lie: Lie = (path, answer) => {
      if (path === "/v1/anchors") without(answer.items, "index", last);
      if (!path.endsWith("/messages")) return;
      without(answer.items, "anchorIndex", last);
      Object.assign(answer["room"] as object, state);
    };
    const indexer = new IndexerClient(url, { fetch: lying(lie) });
    const found = await verifyRoom(indexer, DEPLOYMENT, room);
    expect(found.believed).to.include("anchors");
    expect(await codeOfAsync(() => verifyRoom(indexer, DEPLOYMENT, room, history.events))).to.equal("ANSWER_UNTRUE");
  });

  it("is that of the deployment that the caller knows, whatever the indexer serves", async () => {
    const elsewhere = { ...DEPLOYMENT, chainId: 1 };
    expect(await codeOfAsync(() => verifyRoom(new IndexerClient(url), elsewhere, room))).to.equal("ANSWER_UNTRUE");
  });

  it("is found on a real chain too, with the events of an RPC", async () => {
    const chain = await startChain();
    const deployed = await deploy(chain.url);
    const content = new EmbeddedStore(`${folder()}/blocks`);
    try {
      const talk = new Conversation(deployed, content);
      for (const person of [ALICE, BOB]) await talk.register(person);
      const real = talk.room(ALICE, BOB);
      for (const text of ["one", "two", "three"])
        await talk.anchor(deltaOf([real, [await talk.send(ALICE, BOB, text)]]));
      const rpc = httpRpc(chain.url);
      const indexer = await startIndexer({
        rpcs: [rpc],
        addresses: deployed.deployment,
        content,
        indexPath: `${folder()}/index.sqlite`,
        host: "127.0.0.1",
        port: 0,
        pollIntervalMs: 20,
      });
      await waitForBlock(indexer.url, await deployed.provider.getBlockNumber());
      const { events } = await (await ChainClient.open([rpc], deployed.deployment)).allEvents();
      for (const given of [null, events]) {
        const found = await verifyRoom(new IndexerClient(indexer.url), deployed.deployment, real, given);
        expect(found.messages.map(({ verdict }) => verdict.status)).to.deep.equal(Array(3).fill("verified"));
        expect(found.state!.n).to.equal(3);
      }
      await indexer.close();
    } finally {
      deployed.close();
      await chain.stop();
      await content.close();
    }
  });
});
