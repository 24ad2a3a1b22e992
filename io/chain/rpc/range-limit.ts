/** What providers say when a range of logs is too large for them. They have no code for it in common, only prose. */

/** What may be asked for instead: a number of blocks, or less than before. */
export type RangeLimit = number | "less";

/** In this order: what names a range comes before what only complains. `blocks` is a number of blocks, `to` ends a range. */
const LIMITS: readonly RegExp[] = [
  // Alchemy, Infura, Thirdweb, Tenderly, zkSync: both ends, in hexadecimal
  /range(?: should work)?:? \[(?<from>0x[0-9a-f]+), *(?<to>0x[0-9a-f]+)\]/i,
  // Reth, Ankr, LlamaRPC: both ends, in decimal
  /retry with the range (?<from>\d+)-(?<to>\d+)/i,
  // Bor and geth, publicnode; Hyperliquid; Pocket
  /exceeds? max(?:imum)? block range:? (?<blocks>[\d,]+)/i,
  /block range exceeds server limit.*?: (?<blocks>[\d,]+)/i,
  // QuickNode, 1RPC, Blast; BlockPI
  /limited to (?:an? )?(?:0 - )?(?<blocks>[\d,]+)/i,
  // Alchemy's free plan, Aurora
  /up to an? (?<blocks>[\d,]+)(?<thousands>k)? block range/i,
  // dRPC
  /ranges over (?<blocks>[\d,]+) blocks/i,
  // Infura
  /range [\d,]+ exceeds limit of (?<blocks>[\d,]+)/i,
  // Cloudflare
  /max range: (?<blocks>[\d,]+)/i,
  // Avalanche; Thirdweb; Coinbase; Merkle, which writes 10k; Sei; Moonbeam; Ankr; Swell; Somnia; Blast's plans
  /maximum is set to (?<blocks>[\d,]+)/i,
  /maximum allowed number of requested blocks is (?<blocks>[\d,]+)/i,
  /limit the query to at most (?<blocks>[\d,]+) blocks/i,
  /max is (?<blocks>[\d,]+)(?<thousands>k)? blocks/i,
  /maximum allowed is (?<blocks>[\d,]+) blocks/i,
  /too wide \(maximum (?<blocks>[\d,]+)\)/i,
  /blocks distance: (?<blocks>[\d,]+)/i,
  /block range (?:greater than|exceeds) (?<blocks>[\d,]+)/i,
  /range allowed for your plan \(\d+ > (?<blocks>[\d,]+)\)/i,
];

/** The node has too much to do at the moment, whatever it was asked. */
const BUSY =
  /rate.?limit|too many requests|requests? per second|compute units per second|throughput|(?:request|daily|monthly) (?:count|request)? ?(?:limit|quota)|capacity exceeded|try again (?:later|in)/i;

/** What the message of a refusal of `sizeBlocks` blocks allows; "less" when it names nothing smaller. */
export function rangeLimitOf(message: string, sizeBlocks: number): RangeLimit {
  for (const pattern of LIMITS) {
    const groups = pattern.exec(message)?.groups;
    if (groups === undefined) continue;
    const blocks =
      groups.from === undefined
        ? Number((groups.blocks ?? "").replaceAll(",", "")) * (groups.thousands === undefined ? 1 : 1_000)
        : Number(groups.to) - Number(groups.from) + 1;
    // Some name the range that they have just refused, or count the blocks between the ends.
    if (Number.isSafeInteger(blocks) && blocks >= 1 && blocks < sizeBlocks) return blocks;
  }
  return "less";
}

/** What a contract said: its words are not the node's. */
const REVERTED = 3;
/** Codes that only say that there were too many calls: of HTTP, QuickNode, BlockPI, Base, Polygon. */
const BUSY_CODES: ReadonlySet<number> = new Set([429, -32_007, -32_029, -32_016, -32_090]);
/** "Limit exceeded" (EIP-1474): too many calls, or for a list of logs too many blocks. */
const LIMIT_EXCEEDED = -32_005;

/** Whether a refusal has nothing to do with the size of what was asked for, and passes by itself. */
export function isBusy(code: number, message: string, method = "eth_getLogs"): boolean {
  if (code === REVERTED) return false;
  if (BUSY_CODES.has(code) || (code === LIMIT_EXCEEDED && method !== "eth_getLogs")) return true;
  return BUSY.test(message) && !/block range|results/i.test(message);
}

/** How long a refusal says that it lasts, such as "retry in 10s"; 0 when it does not say, in milliseconds. */
export function pauseNamedIn(message: string): number {
  const named = /(?:retry|try again)\s+(?:in|after)\s+(?<count>\d{1,6})\s*(?<unit>ms|milli|s|m)/i.exec(message)?.groups;
  const unitMs = { ms: 1, milli: 1, s: 1_000, m: 60_000 }[named?.unit?.toLowerCase() ?? "s"] ?? 0;
  return Number(named?.count ?? 0) * unitMs;
}
