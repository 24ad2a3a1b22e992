import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import { openEngine } from "../../indexer/indexer.ts";
import { GatewaySource } from "../../io/content/gateway.ts";
import { ReplicatedStore } from "../../io/content/replicated.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, digestOfCid, linkTo, type Cid } from "../../protocol/cid.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, CAROL, deltaOf, History } from "../fixtures/history.ts";
import { giving, HostileGateway } from "../fixtures/hostile-gateway.ts";
import { get, getOk, waitFor, waitForBlock } from "../fixtures/indexer-client.ts";
import { ScriptedChain, WithheldStore } from "../fixtures/scripted-chain.ts";
import { useIndexers } from "../fixtures/served-history.ts";

const LARGE = encode([new Uint8Array(1_000_000).fill(7)]);
const LINKED = encode([linkTo(cidOf(LARGE))]);

describe("A stranger's key whose document is another block", function () {
  this.timeout(20_000);
  const start = useIndexers();
  const folder = useFolder();
  let history: History;

  beforeEach(() => {
    history = new History();
    history.register(ALICE);
  });

  function registerNaming(block: Uint8Array): Cid {
    const cid = history.put(block);
    history.register(CAROL, { document: digestOfCid(cid) });
    return cid;
  }

  function keptBlocks(path: string): Cid[] {
    const database = new Database(path, { readonly: true });
    const rows = database.prepare<[], { cid: Cid }>("SELECT cid FROM content JOIN cids USING (id)").all();
    database.close();
    return rows.map(({ cid }) => cid);
  }

  for (const [what, block] of [
    ["a block of a megabyte", LARGE],
    ["a block with links", LINKED],
  ] as const) {
    it(`has ${what} neither kept nor served`, async () => {
      const cid = registerNaming(block);
      const indexPath = join(folder(), what);
      const { url } = await start(new ScriptedChain(history), new WithheldStore(history.blocks), { indexPath });
      await waitForBlock(url, history.events.at(-1)!.blockNumber);
      await waitFor("the verdict on the document", async () => {
        const { items } = await getOk(url, `/v1/wallets/${CAROL.address}/keys`);
        return items[0]?.documentVerdict.code === "KEY_DOCUMENT_MALFORMED";
      });
      expect((await get(url, `/v1/blocks/${cid}`)).status).to.equal(404);
      const { items } = await getOk(url, `/v1/wallets/${ALICE.address}/keys`);
      expect((await fetch(`${url}/v1/blocks/${items[0].document}`)).status).to.equal(200);
      expect(keptBlocks(indexPath)).to.deep.equal([items[0].document]);
    });
  }

  it("has it kept and served once an anchor lists it", async () => {
    const cid = registerNaming(LINKED);
    history.register(BOB);
    history.anchor(deltaOf([history.room(ALICE, BOB), [cid]]));
    const { url } = await start(new ScriptedChain(history), new WithheldStore(history.blocks));
    await waitForBlock(url, history.events.at(-1)!.blockNumber);
    expect((await getOk(url, `/v1/messages/${cid}`)).message.verdict.code).to.equal("ENVELOPE_MALFORMED");
    expect((await fetch(`${url}/v1/blocks/${cid}`)).status).to.equal(200);
  });

  it("has no more of it asked for than a key document can have", async () => {
    const cid = registerNaming(LARGE);
    const gateway = new HostileGateway();
    const url = await gateway.start();
    gateway.answer = (response, request) => {
      const bytes = history.blocks.get(request.url!.split(/[/?]/)[2] as Cid)!;
      if (bytes === LARGE) gateway.endless(response, request);
      else giving(bytes)(response, request);
    };
    const content = new ReplicatedStore([], [new GatewaySource(url)]);
    const engine = openEngine(new ScriptedChain(history), {
      content,
      indexPath: join(folder(), "index"),
      pollIntervalMs: 5,
    });
    try {
      void engine.follower.run();
      const answers = (): number => content.health()[0]!.absent + content.health()[0]!.faults.large;
      await waitFor("the documents", () => Promise.resolve(answers() > 0 && engine.history.missing.size === 1));
      expect(engine.history.missing.has(cid)).to.equal(true);
      expect(content.health().map(({ faults, absent }) => [faults.large, absent])).to.deep.equal([[0, 1]]);
    } finally {
      await engine.stop();
      engine.index.close();
      await content.close();
      await gateway.stop();
    }
  });
});
