import { expect } from "chai";

import { readRanges } from "../../io/chain/events/entry-search.ts";
import { LogRange } from "../../io/chain/events/log-range.ts";
import { isBusy, rangeLimitOf, type RangeLimit } from "../../io/chain/rpc/range-limit.ts";
import { unreachable } from "../../io/chain/rpc/rpc-fault.ts";

/** As the providers word it, for a request of a million blocks. */
const REFUSALS: readonly [provider: string, message: string, granted: RangeLimit][] = [
  [
    "Alchemy",
    "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on the response size, or you can request any block range with a cap of 10K logs in the response. Based on your parameters and the response size limit, this block range should work: [0x0, 0x133d71]",
    2_000,
  ],
  [
    "Alchemy",
    "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on the response size, or you can request any block range with a cap of 10K logs in the response. Based on your parameters and the response size limit, this block range should work: [0x100, 0x1ff]",
    256,
  ],
  [
    "Alchemy's free plan",
    "Under the Free tier plan, you can make eth_getLogs requests with up to a 10 block range. Based on your parameters, this block range should work: [0x1180fca, 0x1180fd3]. Upgrade to PAYG for expanded block range.",
    10,
  ],
  ["Infura", "query returned more than 10000 results. Try with this block range [0x100E698, 0x100E6D4].", 61],
  ["Infura", "range 1000000 exceeds limit of 10000", 10_000],
  ["QuickNode", "eth_getLogs is limited to a 10,000 range", 10_000],
  ["QuickNode's free plan", "eth_getLogs is limited to a 5 range", 5],
  ["BlockPI", "eth_getLogs is limited to 1,024 block range", 1_024],
  ["1RPC", "eth_getLogs is limited to 0 - 50 blocks range", 50],
  ["Ankr", "block range is too wide", "less"],
  ["Ankr, Reth", "query exceeds max results 20000, retry with the range 54325373-54326275", 903],
  ["Chainstack", "Block range limit exceeded. See more details at https://docs.chainstack.com", "less"],
  ["dRPC", "ranges over 10000 blocks are not supported on freetier", 10_000],
  ["publicnode", "exceed maximum block range: 50000", 50_000],
  ["Cloudflare", "Max range: 800", 800],
  ["Bor", "query block range exceeds server limit, narrow your filter: 5000", 5_000],
  ["Erigon", "query exceeds max block range 10000", 10_000],
  ["Nethermind", "Too many logs requested. Max logs per response is 20000.", "less"],
  ["Avalanche", "requested too many blocks from 1 to 1000000, maximum is set to 2048", 2_048],
  ["Thirdweb", "Maximum allowed number of requested blocks is 1000", 1_000],
  ["Coinbase", "please limit the query to at most 1,000 blocks", 1_000],
  ["Merkle", "eth_getLogs range is too large, max is 10k blocks", 10_000],
  ["Sei", "block range too large (2000), maximum allowed is 1000 blocks", 1_000],
  ["Optimism", "backend response too large", "less"],
  ["a node that names what it has just refused", "exceed maximum block range: 1000000", "less"],
];

describe("What a provider grants of logs", () => {
  for (const [provider, message, granted] of REFUSALS) {
    it(`is read from the words of ${provider}: ${message.slice(0, 48)}`, () => {
      expect(rangeLimitOf(message, 1_000_000)).to.equal(granted);
      expect(isBusy(-32_602, message)).to.equal(false);
    });
  }

  it("is not what a node says that is too busy for anything", () => {
    for (const message of [
      "Your app has exceeded its compute units per second capacity",
      "Too Many Requests",
      "daily request count exceeded, request rate limited",
      "project ID request rate exceeded, rate limit reached",
      "50/second request limit reached - reduce calls per second or upgrade your account",
    ])
      expect(isBusy(-32_005, message), message).to.equal(true);
    expect(isBusy(429, "")).to.equal(true);
  });

  for (const limit of [1, 5, 50, 999, 10_000]) {
    for (const isNamed of [true, false]) {
      it(`is found in log2(n) + 2 calls where it is ${limit} blocks${isNamed ? " and is named" : ""}`, async () => {
        const range = new LogRange();
        let refused = 0;
        const read = async (from: number, to: number): Promise<number[]> => {
          await Promise.resolve();
          if (to - from + 1 <= limit) return Array.from({ length: to - from + 1 }, (_, i) => from + i);
          refused += 1;
          const message = isNamed ? `eth_getLogs is limited to a ${limit} range` : "no";
          throw unreachable("fake", { fault: "answer", code: -32_005, message, data: undefined });
        };
        const found = await readRanges(range, 1, Math.min(20 * limit, 20_000), read, () => false);
        expect(found).to.deep.equal(Array.from({ length: Math.min(20 * limit, 20_000) }, (_, i) => i + 1));
        // Once a larger one is tried again, and refused.
        expect(refused).to.be.at.most((isNamed ? 1 : Math.ceil(Math.log2(10_000 / limit))) + 2);
      });
    }
  }
});
