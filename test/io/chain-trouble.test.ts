import { expect } from "chai";

import { httpRpc } from "../../io/chain/rpc/http-rpc.ts";
import { ChainClient, type ClientOptions } from "../../io/chain/client.ts";
import { FakeNode, type FakeLog } from "../fixtures/fake-node.ts";
import { DEPLOYMENT } from "../fixtures/history.ts";
import { Ledger } from "../fixtures/ledger.ts";
import { LedgerNode } from "../fixtures/ledger-node.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

const pause = () => Promise.resolve();

function open(nodes: readonly FakeNode[], options: ClientOptions = {}): Promise<ChainClient> {
  return ChainClient.open(nodes, DEPLOYMENT, { chainId: DEPLOYMENT.chainId, pause, ...options });
}

/** An anchor in every third block. */
const EVERY_THIRD = Array.from({ length: 300 }, (_, i) => 3 * i + 2);

async function indices(reader: ChainClient): Promise<number[]> {
  return (await reader.allEvents()).events.map(({ index }) => index);
}
const ALL = EVERY_THIRD.map((_, i) => i);

describe("The chain client and a node that is not what it should be", () => {
  for (const maxRange of [1, 7, 100, 1_000]) {
    it(`reads everything from a node that grants ${maxRange} blocks at a time`, async () => {
      const node = new FakeNode(EVERY_THIRD, 905);
      node.maxRange = maxRange;
      const reader = await open([node]);
      expect(await indices(reader)).to.deep.equal(ALL);
      const refused = node.queries.filter(({ from, to }) => to - from + 1 > maxRange).length;
      expect(refused).to.be.lessThan(10 + node.queries.length / 8);
    });
  }

  it("remembers the range that a node grants, and tries a larger one again", async () => {
    const node = new FakeNode(EVERY_THIRD, 905);
    node.maxRange = 50;
    const reader = await open([node]);
    await reader.allEvents();
    node.queries.length = 0;
    await reader.allEvents();
    expect(node.queries[0]?.to).to.be.within(20, 50);
    expect(node.queries.filter(({ from, to }) => to - from + 1 > 50).length).to.be.lessThan(3);
    node.maxRange = Infinity;
    for (let i = 0; i < 30; i++) await reader.allEvents();
    node.queries.length = 0;
    await reader.allEvents();
    expect(node.queries.length).to.be.lessThan(6);
  });

  it("asks a node that grants everything once, and stops when it has all", async () => {
    const node = new FakeNode([2, 3], 900_000);
    expect(await indices(await open([node]))).to.deep.equal([0, 1]);
    expect(node.queries).to.deep.equal([{ from: 1, to: 10_000 }]);
  });

  it("reads everything from a node that cuts long answers off and says nothing", async () => {
    const node = new FakeNode(EVERY_THIRD, 905);
    node.maxLogs = 20;
    expect(await indices(await open([node]))).to.deep.equal(ALL);
  });

  it("halves after a time-out, and gives up at once when the node is gone or refuses the key", async () => {
    const node = new FakeNode(EVERY_THIRD, 905);
    node.tamper = (logs, { from, to }) => {
      if (to - from > 100) throw node.failure("timeout", 0, "no answer within 30000 ms");
      return logs;
    };
    const reader = await open([node], { concurrency: 1 });
    expect(await indices(reader)).to.deep.equal(ALL);
    for (const [fault, code] of [
      ["network", 0],
      ["status", 401],
    ] as const) {
      node.queries.length = 0;
      node.tamper = () => {
        throw node.failure(fault, code, "no");
      };
      expect(await codeOfAsync(() => reader.allEvents())).to.equal("CHAIN_UNREACHABLE");
      expect(node.queries.length).to.equal(1);
    }
  });

  for (const [title, drop] of [
    ["first", 0],
    ["middle", 150],
    ["last", 299],
  ] as const) {
    it(`finds that the ${title} event was left out`, async () => {
      const node = new FakeNode(EVERY_THIRD, 905);
      node.tamper = (logs) => logs.filter(({ logIndex }) => Number(logIndex) !== drop);
      expect(await codeOfAsync(async () => (await open([node])).allEvents())).to.equal("CHAIN_INCOMPLETE");
    });
  }

  it("gets over a node that leaves an event out once", async () => {
    const node = new FakeNode(EVERY_THIRD, 905);
    let times = 0;
    node.tamper = (logs) => (times++ === 0 ? logs.slice(1) : logs);
    expect(await indices(await open([node]))).to.deep.equal(ALL);
  });

  it("finds in the receipts what a node leaves out of every list", async () => {
    const ledger = new Ledger();
    for (let block = 1; block <= 30; block++) ledger.mineAnchors(1);
    const node = new LedgerNode(ledger);
    node.omits = ({ blockNumber }) => Number(blockNumber) === 10;
    const rpc = httpRpc("http://node", { fetch: node.fetch, pause });
    const reader = await ChainClient.open([rpc], DEPLOYMENT, { chainId: DEPLOYMENT.chainId, pause });
    expect((await reader.allEvents()).events).to.deep.equal(ledger.eventsUpTo(ledger.head.hash));
    const head = await reader.head();
    const { events } = await reader.newEvents(5, head, { anchors: 4, keys: 0 });
    expect(events.map(({ index }) => index)).to.deep.equal(Array.from({ length: 26 }, (_, i) => i + 4));
  });

  it("refuses a last entry that CIDStore's head is not the digest of", async () => {
    const node = new FakeNode(EVERY_THIRD, 905);
    const forged = `0x${"1".repeat(64)}`;
    node.tamper = (logs) => logs.map((log) => ({ ...log, topics: [log.topics[0]!, log.topics[1]!, forged] }));
    expect(await codeOfAsync(async () => (await open([node])).allEvents())).to.equal("CHAIN_DISAGREES");
  });

  const falsehoods: Record<string, (logs: FakeLog[]) => FakeLog[]> = {
    "a log of another block than asked for": ([log, ...rest]) =>
      log ? [{ ...log, blockNumber: "0xffff" }, ...rest] : [],
    "a log that was removed": ([log, ...rest]) => (log ? [{ ...log, removed: true }, ...rest] : []),
    "a log of another contract": ([log, ...rest]) => (log ? [{ ...log, address: `0x${"3".repeat(40)}` }, ...rest] : []),
    "a log twice": (logs) => [...logs, ...logs.slice(-1)],
    "an index twice": (logs) => [...logs, ...logs.slice(-1).map((log) => ({ ...log, logIndex: "0x1000" as const }))],
    "an event of another kind": ([log, ...rest]) => (log ? [{ ...log, topics: [`0x${"0".repeat(64)}`] }, ...rest] : []),
    "a log without its digest": ([log, ...rest]) => (log ? [{ ...log, topics: log.topics.slice(0, 2) }, ...rest] : []),
    "an index past 2^53": ([log, ...rest]) =>
      log ? [{ ...log, topics: [log.topics[0] ?? "", `0x${"f".repeat(64)}`, log.topics[2] ?? ""] }, ...rest] : [],
    "no list": () => ({}) as FakeLog[],
    "a log that is null": () => [null as unknown as FakeLog],
    "a block number in decimal": ([log, ...rest]) => (log ? [{ ...log, blockNumber: "12" as "0x" }, ...rest] : []),
  };
  for (const [title, falsify] of Object.entries(falsehoods)) {
    it(`refuses ${title}`, async () => {
      const node = new FakeNode(EVERY_THIRD, 905);
      node.tamper = falsify;
      expect(await codeOfAsync(async () => (await open([node])).allEvents())).to.equal("CHAIN_DISAGREES");
    });
  }

  it("orders logs that come in another order", async () => {
    const node = new FakeNode([2, 2, 2, 5], 10);
    node.tamper = (logs) => logs.reverse();
    expect(await indices(await open([node]))).to.deep.equal([0, 1, 2, 3]);
  });

  it("refuses two hashes of one block", async () => {
    const node = new FakeNode([2, 2], 10);
    node.tamper = ([first, second]) =>
      first && second ? [first, { ...second, blockHash: first.transactionHash }] : [];
    expect(await codeOfAsync(async () => (await open([node])).allEvents())).to.equal("CHAIN_DISAGREES");
  });

  it("reads again when a reorg comes in between, and refuses a head that never rests", async () => {
    const node = new FakeNode(EVERY_THIRD, 905);
    let reads = 0;
    node.tamper = (logs) => {
      if (reads++ === 0) node.fork = "after the reorg";
      return logs;
    };
    const reader = await open([node]);
    const { events, head } = await reader.allEvents();
    expect(events.length).to.equal(300);
    expect(head.block).to.deep.equal(await reader.block(905));
    node.tamper = (logs) => {
      node.fork = `fork ${reads++}`;
      return logs;
    };
    expect(await codeOfAsync(() => reader.allEvents())).to.equal("CHAIN_DISAGREES");
  });

  it("takes the head that all nodes have, and what all call final", async () => {
    const [ahead, behind] = [new FakeNode([2], 100, "ahead"), new FakeNode([2], 97, "behind")];
    const reader = await open([ahead, behind]);
    expect(await reader.head()).to.deep.include({ finalized: 87 });
    expect((await reader.head()).block.number).to.equal(97);
  });

  it("counts depth where a node says three times that it does not know the finalized tag, and asks it no more", async () => {
    const node = new FakeNode([2], 100);
    node.knowsFinalized = false;
    const reader = await open([node], { finalityDepth: 30 });
    node.calls.length = 0;
    expect((await reader.head()).finalized).to.equal(70);
    // The newest block and the final one, three times.
    expect(node.calls).to.have.length(6);
    node.calls.length = 0;
    expect((await reader.head()).finalized).to.equal(70);
    expect(node.calls).to.deep.equal(["eth_getBlockByNumber"]);
  });

  for (const [code, message] of [
    [-32_000, "unknown block tag"],
    [-32_602, "invalid params"],
    [-32_603, "internal error"],
    [-32_000, "finalized block not found"],
  ] as const) {
    it(`never puts a depth in the place of the finalized tag because of an error that passes: ${message}`, async () => {
      const node = new FakeNode([2], 900);
      const reader = await open([node], { finalityDepth: 30 });
      let left = 2;
      node.before = ({ params }) => {
        if (params[0] === "finalized" && left-- > 0) throw node.failure("answer", code, message);
      };
      expect((await reader.head()).finalized).to.equal(890);
      node.before = ({ params }) => {
        if (params[0] === "finalized") throw node.failure("answer", code, message);
      };
      node.height = 950;
      expect((await reader.head()).finalized).to.equal(890);
    });
  }

  it("calls nothing final where a node never says what is, for another reason than that it does not know", async () => {
    const node = new FakeNode([2], 900);
    node.before = ({ params }) => {
      if (params[0] === "finalized") throw node.failure("answer", -32_603, "internal error");
    };
    expect((await (await open([node], { finalityDepth: 30 })).head()).finalized).to.equal(0);
  });

  it("refuses nodes that differ: in a head, a count, an event, the chain id", async () => {
    const pair = () => [new FakeNode([2, 4], 10, "a"), new FakeNode([2, 4], 10, "b")] as const;
    const refused = (nodes: readonly FakeNode[], act: (reader: ChainClient) => Promise<unknown>) =>
      codeOfAsync(async () => act(await open(nodes)));

    const forked = pair();
    forked[1].fork = "other";
    expect(await refused(forked, (reader) => reader.head())).to.equal("CHAIN_DISAGREES");
    const short = [new FakeNode([2, 4], 10, "a"), new FakeNode([2], 10, "b")];
    expect(await refused(short, (reader) => reader.allEvents())).to.equal("CHAIN_DISAGREES");
    const lying = pair();
    lying[1].tamper = (logs) =>
      logs.map((log) => ({ ...log, topics: [...log.topics.slice(0, 2), `0x${"ab".repeat(32)}`] }));
    expect(await refused(lying, (reader) => reader.allEvents())).to.equal("CHAIN_DISAGREES");
    const other = pair();
    other[1].before = ({ method }) => {
      if (method === "eth_chainId") throw other[1].failure("network", 0, "gone");
    };
    expect(await refused(other, (reader) => reader.head())).to.equal("CHAIN_UNREACHABLE");
  });

  it("takes no event by the word of one node where all have to agree, and takes it by that of most where these are enough", async () => {
    const ledger = new Ledger();
    for (let block = 1; block <= 30; block++) ledger.mineAnchors(1);
    const nodes = ["honest", "forgetful", "too"].map((name) => new LedgerNode(ledger, name));
    const rpcs = nodes.map(({ name, fetch }) => httpRpc(`http://${name}`, { fetch, pause }));
    const [, forgetful] = nodes;
    forgetful!.omits = ({ blockNumber }) => Number(blockNumber) === 10;
    const options = { chainId: DEPLOYMENT.chainId, pause };
    const all = ledger.eventsUpTo(ledger.head.hash);
    for (const policy of ["all", "majority"] as const) {
      const client = await ChainClient.open(rpcs, DEPLOYMENT, { ...options, policy });
      expect((await client.allEvents()).events, policy).to.deep.equal(all);
    }
    // Without receipts it can't say by itself what it left out of its list.
    forgetful!.hasReceipts = false;
    const unanimous = await ChainClient.open(rpcs.slice(0, 2), DEPLOYMENT, { ...options, policy: "all" });
    expect(await codeOfAsync(() => unanimous.allEvents())).to.equal("CHAIN_INCOMPLETE");
    const most = await ChainClient.open(rpcs, DEPLOYMENT, { ...options, policy: "majority" });
    expect((await most.allEvents()).events).to.deep.equal(all);
  });

  it("reads nothing once while fewer nodes answer than have to agree", async () => {
    const ledger = new Ledger();
    ledger.mineAnchors(1);
    const nodes = ["first", "second", "third"].map((name) => new LedgerNode(ledger, name));
    const rpcs = nodes.map(({ name, fetch }) => httpRpc(`http://${name}`, { fetch, pause }));
    const client = await ChainClient.open(rpcs, DEPLOYMENT, { chainId: DEPLOYMENT.chainId, pause, policy: "majority" });
    expect((await client.head()).block.number).to.equal(1);
    nodes[0]!.fault = () => "refused";
    expect((await client.head()).block.number).to.equal(1);
    nodes[1]!.fault = () => "refused";
    expect(await codeOfAsync(() => client.head())).to.equal("CHAIN_UNREACHABLE");
    expect((await client.fetchView(null)).isConfirmed).to.equal(false);
  });

  it("needs a node, and a block that is there", async () => {
    expect(await codeOfAsync(() => open([]))).to.equal("CONFIGURATION_INVALID");
    const reader = await open([new FakeNode([2], 10)]);
    expect(await codeOfAsync(() => reader.allEvents(11))).to.equal("CHAIN_INCOMPLETE");
  });
});
