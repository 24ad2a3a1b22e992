import { expect } from "chai";
import fc from "fast-check";

import { GWEI } from "../../io/chain/transactions/amount.ts";
import { feesWithin, readFeeMarket, type FeeMarket, type Fees } from "../../io/chain/transactions/fees.ts";
import { unreachable } from "../../io/chain/rpc/rpc-fault.ts";
import type { Rpc } from "../../io/chain/rpc/rpc.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

const GAS = 60_000n;
const NO_CAP = { maxFeePerGas: undefined, maxCost: 10n ** 18n };
const market = (base: bigint, tip: bigint, floor = 25n): FeeMarket => ({
  baseFeePerGas: base * GWEI,
  tip: tip * GWEI,
  tipFloor: floor * GWEI,
});
const wei = fc.bigInt({ min: 0n, max: 10n ** 14n });

describe("The fees of a transaction", () => {
  it("are the tip and twice the base fee", () => {
    expect(feesWithin(market(100n, 30n), NO_CAP, GAS)).to.deep.equal({
      maxFeePerGas: 230n * GWEI,
      maxPriorityFeePerGas: 30n * GWEI,
    });
  });

  it("never pass a cap, whatever the chain asks and whatever they replace; none are offered that could not be mined", () => {
    const anyMarket = fc
      .record({ baseFeePerGas: wei, tipFloor: wei, more: wei })
      .map(({ baseFeePerGas, tipFloor, more }): FeeMarket => ({ baseFeePerGas, tipFloor, tip: tipFloor + more }));
    const anyFees = fc.option(fc.record({ maxFeePerGas: wei, maxPriorityFeePerGas: wei }), { nil: undefined });
    fc.assert(
      fc.property(
        anyMarket,
        fc.option(wei, { nil: undefined }),
        wei,
        anyFees,
        (chain, maxFeePerGas, cost, replaced) => {
          const maxCost = cost * GAS;
          const fees = feesWithin(chain, { maxFeePerGas, maxCost }, GAS, replaced);
          if (fees === null) return;
          expect(fees.maxFeePerGas <= (maxFeePerGas ?? fees.maxFeePerGas)).to.equal(true);
          expect(fees.maxFeePerGas * GAS <= maxCost).to.equal(true);
          expect(fees.maxPriorityFeePerGas <= fees.maxFeePerGas).to.equal(true);
          expect(fees.maxPriorityFeePerGas >= chain.tipFloor).to.equal(true);
          expect(fees.maxFeePerGas >= chain.baseFeePerGas + chain.tipFloor).to.equal(true);
          if (replaced === undefined) return;
          for (const name of ["maxFeePerGas", "maxPriorityFeePerGas"] as const) {
            expect(fees[name] * 1_000n >= replaced[name] * 1_125n && fees[name] > replaced[name], name).to.equal(true);
          }
        },
      ),
      { numRuns: 2_000 },
    );
  });

  it("are lowered to a cap that still lets it be mined, and refused below that", () => {
    const capped = (gwei: bigint): Fees | null =>
      feesWithin(market(100n, 40n), { ...NO_CAP, maxFeePerGas: gwei * GWEI }, GAS);
    expect(capped(200n)?.maxFeePerGas).to.equal(200n * GWEI);
    expect(capped(125n)?.maxFeePerGas).to.equal(125n * GWEI);
    expect(capped(124n)).to.equal(null);
    const cost = (pol: bigint): Fees | null => feesWithin(market(100n, 40n), { ...NO_CAP, maxCost: pol }, GAS);
    expect(cost(125n * GWEI * GAS)?.maxFeePerGas).to.equal(125n * GWEI);
    expect(cost(125n * GWEI * GAS - 1n)).to.equal(null);
  });

  it("of a replacement are an eighth more in both parts, or none", () => {
    const before = feesWithin(market(100n, 30n), NO_CAP, GAS) ?? undefined;
    const after = feesWithin(market(10n, 25n), NO_CAP, GAS, before);
    expect(after).to.deep.equal({
      maxFeePerGas: (230n * GWEI * 9n) / 8n,
      maxPriorityFeePerGas: (30n * GWEI * 9n) / 8n,
    });
    expect(feesWithin(market(10n, 25n), { ...NO_CAP, maxFeePerGas: 258n * GWEI }, GAS, before)).to.equal(null);
  });
});

describe("What blocks take at the moment", () => {
  const node = (tip: unknown, block: unknown = { baseFeePerGas: "0x6fc23ac00" }): Rpc => ({
    name: "node",
    request: ({ method }) =>
      method === "eth_maxPriorityFeePerGas" && tip instanceof Error
        ? Promise.reject(tip)
        : Promise.resolve(method === "eth_maxPriorityFeePerGas" ? tip : block),
    batch: () => Promise.reject(new Error("not used")),
  });

  it("has Polygon's floor of 25 gwei for the tip, on Polygon and Amoy only", async () => {
    const low = node("0x3b9aca00");
    for (const [chainId, tip] of [
      [137, 25n],
      [80_002, 25n],
      [1, 1n],
    ] as const) {
      expect((await readFeeMarket(low, chainId)).tip).to.equal(tip * GWEI);
    }
    expect(await readFeeMarket(node("0xba43b7400"), 137)).to.deep.equal(market(30n, 50n));
  });

  it("is the floor where the node has no opinion, and nothing where it cannot be reached", async () => {
    const answer = (fault: "answer" | "network") =>
      unreachable("node", { fault, code: -32601, message: "no", data: undefined });
    expect((await readFeeMarket(node(answer("answer")), 137)).tip).to.equal(25n * GWEI);
    expect(await codeOfAsync(() => readFeeMarket(node(answer("network")), 137))).to.equal("CHAIN_UNREACHABLE");
  });

  it("is not guessed for a chain without a base fee, or from nonsense", async () => {
    expect(await codeOfAsync(() => readFeeMarket(node("0x1", {}), 1))).to.equal("TRANSACTION_FAILED");
    expect(await codeOfAsync(() => readFeeMarket(node("lots"), 1))).to.equal("CHAIN_DISAGREES");
  });
});
