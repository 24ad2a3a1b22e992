import { join } from "node:path";

import { useFolder } from "../fixtures/folder.ts";
import { chooseSize } from "../fixtures/long-form.ts";
import { Simulation } from "../fixtures/simulation.ts";

/** The first is the one that every run begins with; each of the others has found something. */
const SEEDS: readonly [seed: number, blocks: number, what: string][] = [
  [1, 80, "all of it"],
  [105, 40, "a block with more events than a node without receipts gives at once"],
  [106, 60, "the same in another block"],
  [2_898_077_466, 80, "a message that nobody has, listed at two places"],
  [20_261_279, 40, "a node's head that lags on an unproved range"],
];

describe("an index in a world where everything goes wrong", function () {
  this.timeout(300_000);
  const folder = useFolder();

  async function run(seed: number, blocks: number): Promise<void> {
    try {
      await new Simulation(seed, join(folder())).run(blocks);
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? (error.stack ?? error.message) : "failed"}`, {
        cause: error,
      });
    }
  }

  for (const [seed, blocks, what] of SEEDS.slice(0, chooseSize(2, SEEDS.length)))
    it(`equals a clean rebuild, seed ${seed}: ${what}`, () => run(seed, blocks));

  const seed = Math.floor(Math.random() * 2 ** 32);
  it(`equals a clean rebuild, with a seed of its own: ${seed}`, () => run(seed, chooseSize(40, 80)));
});
