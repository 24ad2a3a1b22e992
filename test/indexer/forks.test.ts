import { join } from "node:path";

import { expect } from "chai";

import { openEngine, type Engine } from "../../indexer/indexer.ts";
import { useFolder } from "../fixtures/folder.ts";
import { chooseSize } from "../fixtures/long-form.ts";
import { Ledger } from "../fixtures/ledger.ts";
import { LedgerNode, openClient } from "../fixtures/ledger-node.ts";
import { WithheldStore } from "../fixtures/scripted-chain.ts";

/** Of the chain that goes and of the one that takes its place, the blocks with an anchor; from the first one on they differ. */
const FORKS: readonly [from: number, before: readonly number[], after: readonly number[]][] = [
  [4, [4], [5]],
  [4, [4, 5], []],
  [4, [], [4, 7]],
  [5, [5, 7], [6, 7]],
  [7, [7], []],
  [7, [], [7]],
  [2, [2, 5], [5]],
  [2, [5], [2, 7]],
];
/** More than a node is asked to read what it has. */
const MOMENTS = 30;
/** The short form takes every third of them, others for each of the forks. */
const STEP = chooseSize(3, 1);

describe("A reorg before any one call of what an index asks", function () {
  this.timeout(120_000);
  const folder = useFolder();
  let indices = 0;

  function mine(ledger: Ledger, to: number, anchorIn: readonly number[]): void {
    while (ledger.head.number < to) ledger.mineAnchors(anchorIn.includes(ledger.head.number + 1) ? 1 : 0);
  }

  async function begin(node: LedgerNode): Promise<Engine> {
    const chain = await openClient([node], { maxRangeBlocks: 4 });
    const indexPath = join(folder(), `index ${indices++}`);
    return openEngine(chain, { content: new WithheldStore(new Map()), indexPath, pollIntervalMs: 5 });
  }

  /** The rows are those of the chain that the cursor's block is of, and all of them when the index says so. */
  function check({ index, history, follower }: Engine, ledger: Ledger, what: string): void {
    const { cursor } = history.log;
    if (cursor === null) return;
    const rows = index.database.prepare("SELECT block_hash FROM anchors ORDER BY anchor_index").pluck().all();
    const chain = ledger.eventsUpTo(cursor.hash).map(({ blockHash }) => blockHash);
    expect(chain.slice(0, rows.length), what).to.deep.equal(rows);
    if (follower.isCurrent) expect(rows.length, what).to.equal(chain.length);
  }

  for (const [number, [from, before, after]] of FORKS.entries()) {
    it(`leaves no row of another chain, with anchors in ${after.join(", ") || "none"} instead of ${before.join(", ") || "none"} from block ${from} on`, async () => {
      let forks = 0;
      for (let moment = 1 + (number % STEP); moment <= MOMENTS; moment += STEP) {
        const ledger = new Ledger();
        mine(ledger, 12, [1, ...before]);
        const node = new LedgerNode(ledger);
        node.maxBatch = 1;
        node.lag = 9;
        const engine = await begin(node);
        try {
          expect(await engine.follower.turn()).to.equal("current");
          node.lag = 0;
          let calls = 0;
          node.before = () => {
            calls += 1;
            if (calls !== moment) return;
            forks += 1;
            ledger.drop(13 - from);
            mine(ledger, 13, after);
          };
          for (let turn = 0; turn < 8; turn++) {
            await engine.follower.turn().catch(() => undefined);
            check(engine, ledger, `before call ${moment}, turn ${turn}`);
          }
          expect(engine.follower.isCurrent, `before call ${moment}`).to.equal(true);
          expect(engine.history.log.cursor!.hash, `before call ${moment}`).to.equal(ledger.head.hash);
        } finally {
          await engine.stop();
          engine.index.close();
        }
      }
      expect(forks).to.equal(MOMENTS / STEP);
    });
  }
});
