/** What a node answers, parsed: nothing is believed to have a shape before it was looked at. */
import type { Hex } from "../../../protocol/bytes.ts";
import { DmtpError } from "../../../protocol/error.ts";

export interface Block {
  readonly number: number;
  readonly hash: Hex;
  readonly parentHash: Hex;
  /** Unix seconds. */
  readonly timestamp: number;
}

/** A log with the members that DMTP reads. */
export interface Log {
  readonly address: string;
  readonly topics: readonly Hex[];
  readonly data: Hex;
  readonly blockNumber: number;
  readonly blockHash: Hex;
  readonly transactionHash: Hex;
  readonly logIndex: number;
}

/** A block, or null when the node has none there. @throws CHAIN_DISAGREES */
export function parseBlock(answer: unknown): Block | null {
  if (answer === null) return null;
  const block = parseObject(answer, "a block");
  return {
    number: parseQuantity(block.number),
    hash: parseHash(block.hash),
    parentHash: parseHash(block.parentHash),
    timestamp: parseQuantity(block.timestamp),
  };
}

/** @throws CHAIN_DISAGREES */
export function parseLogs(answer: unknown): Log[] {
  if (!Array.isArray(answer)) throw malformed("a list of logs");
  const [addressOf, eventOf] = [inARow(parseData), inARow(parseHash)];
  const [blockOf, transactionOf] = [inARow(parseHash), inARow(parseHash)];
  return answer.map((item) => {
    const log = parseObject(item, "a log");
    if (log.removed === true) throw new DmtpError("CHAIN_DISAGREES", "the RPC answered with a log of a replaced block");
    if (!Array.isArray(log.topics) || log.topics.length > 4) throw malformed("topics");
    return {
      address: addressOf(log.address),
      topics: log.topics.map((topic, i) => (i === 0 ? eventOf(topic) : parseHash(topic))),
      data: parseData(log.data),
      blockNumber: parseQuantity(log.blockNumber),
      blockHash: blockOf(log.blockHash),
      transactionHash: transactionOf(log.transactionHash),
      logIndex: parseQuantity(log.logIndex),
    };
  });
}

/** A JSON-RPC quantity as a safe integer. @throws CHAIN_DISAGREES */
export function parseQuantity(answer: unknown): number {
  const value = typeof answer === "string" && /^0x[0-9a-fA-F]{1,16}$/.test(answer) ? Number(answer) : Number.NaN;
  if (!Number.isSafeInteger(value)) throw malformed("a quantity");
  return value;
}

/** A JSON-RPC quantity of any size, such as a balance. @throws CHAIN_DISAGREES */
export function parseBigQuantity(answer: unknown): bigint {
  if (typeof answer !== "string" || !/^0x[0-9a-fA-F]{1,64}$/.test(answer)) throw malformed("a quantity");
  return BigInt(answer);
}

/** 32 bytes, lower-case. @throws CHAIN_DISAGREES */
export function parseHash(answer: unknown): Hex {
  if (typeof answer !== "string" || !/^0x[0-9a-fA-F]{64}$/.test(answer)) throw malformed("a hash");
  return answer.toLowerCase() as Hex;
}

/** Bytes, lower-case. @throws CHAIN_DISAGREES */
export function parseData(answer: unknown): Hex {
  if (typeof answer !== "string" || !/^0x(?:[0-9a-fA-F]{2})*$/.test(answer)) throw malformed("bytes");
  return answer.toLowerCase() as Hex;
}

/** A uint256 as 32 bytes, such as a topic, that must be a safe integer. @throws CHAIN_DISAGREES */
export function parseWord(word: Hex): number {
  // What is too large is rounded to something that is too large.
  const count = Number(word);
  if (!Number.isSafeInteger(count)) throw malformed("a count");
  return count;
}

/** A uint256 that must be a safe integer: an index, a count, a version, a block number. @throws CHAIN_DISAGREES */
export function parseCount(value: unknown): number {
  const count = typeof value === "bigint" ? Number(value) : Number.NaN;
  if (!Number.isSafeInteger(count) || count < 0) throw malformed("a count");
  return count;
}

/** `parse` for texts of which the same comes several times in a row: it is parsed once, and kept once. */
function inARow(parse: (answer: unknown) => Hex): (answer: unknown) => Hex {
  let last: { readonly answer: unknown; readonly parsed: Hex } | null = null;
  return (answer) => {
    if (last === null || last.answer !== answer) last = { answer, parsed: parse(answer) };
    return last.parsed;
  };
}

export function malformed(what: string): DmtpError {
  return new DmtpError("CHAIN_DISAGREES", `the RPC answered with something that is not ${what}`);
}

function parseObject(value: unknown, what: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null) throw malformed(what);
  return value as Record<string, unknown>;
}
