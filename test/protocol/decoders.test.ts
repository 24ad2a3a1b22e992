import { expect } from "chai";

import { decoderChecks } from "../fixtures/decoder-checks.ts";
import { Mutator } from "../fixtures/mutation.ts";
import { SeededRandom } from "../fixtures/random.ts";

const ROUNDS = 2_000;

// Another one each time: `npm run fuzz -- --seed N` goes on from it.
const SEED = Math.floor(Math.random() * 2 ** 32);

describe(`What is nearly right is refused by a code, or written as the same bytes again (seed ${SEED}): it is no`, () => {
  const checks = decoderChecks();
  const pool = checks.flatMap(({ seeds }) => seeds);

  for (const { name, seeds, check } of checks) {
    it(name, async () => {
      const random = new SeededRandom(SEED);
      const mutator = new Mutator(random, pool);
      expect(await check(seeds[0]!), "what is right").to.equal(true);
      for (let round = 0; round < ROUNDS; round++) await check(mutator.mutate(random.pick(seeds)));
    }).timeout(60_000);
  }
});
