/**
 * What one node calls final. What happens once is not taken for a property: a node that gives no final block now keeps the last
 * one that it gave, and only one that never gave any, and says again and again that it does not know the tag, is judged by depth.
 */
import { parseBlock, type Block } from "../rpc/parsed-answer.ts";
import { faultOf } from "../rpc/rpc-fault.ts";
import type { RpcAnswer } from "../rpc/rpc.ts";

/** Invalid parameters, and no such method. */
const UNKNOWN_CODES: ReadonlySet<number> = new Set([-32_602, -32_601]);
const UNKNOWN =
  /unknown block tag|unsupported block tag|invalid block tag|tag (?:is )?not supported|without 0x prefix/i;
const REFUSALS = 3;
/** A node that was found not to know the tag may be replaced by one that does. */
const ASKED_AGAIN_MS = 600_000;

export interface FinalityTagOptions {
  /** How long after the first refusal the last has to come, at least. */
  readonly refusedForMs: number;
  readonly now: () => number;
}

export class FinalityTag {
  private readonly options: FinalityTagOptions;
  private last: Block | null = null;
  private refusals = 0;
  private firstRefusalMs = 0;
  private refusedAtMs: number | null = null;
  private hasFailed = false;

  constructor(options: FinalityTagOptions) {
    this.options = options;
  }

  /** The last block that the node called final; null when it never did. */
  get block(): Block | null {
    return this.last;
  }

  /** Whether the node is known not to have the tag. */
  get isRefused(): boolean {
    return this.last === null && this.refusedAtMs !== null;
  }

  /** Whether the node never called a block final and its last answer was an error that may pass. */
  get isInDoubt(): boolean {
    return this.last === null && this.hasFailed && !this.isRefused;
  }

  /** Whether the tag is worth a call now. */
  get isAsked(): boolean {
    return !this.isRefused || this.options.now() - (this.refusedAtMs ?? 0) >= ASKED_AGAIN_MS;
  }

  /** The number of the highest final block, by the node's word, `depth` behind its head where it has no word for it. */
  finalizedAt(head: number, depth: number): number {
    if (this.last !== null) return Math.min(head, this.last.number);
    // Genesis is final as long as nobody says more.
    return this.isRefused ? Math.max(0, head - depth) : 0;
  }

  /** Takes the answer to a call for the block with the tag. @throws CHAIN_DISAGREES; CHAIN_UNREACHABLE where there was no answer */
  take(answer: RpcAnswer): void {
    this.hasFailed = "error" in answer;
    if (!("error" in answer)) {
      const block = parseBlock(answer.result ?? null);
      // Null: nothing is final yet, or the node has forgotten it for a moment.
      if (block !== null) this.last = block;
      this.refusals = 0;
      return;
    }
    const fault = faultOf(answer.error);
    if (fault?.fault !== "answer") throw answer.error;
    if (this.last !== null) return;
    if (!UNKNOWN_CODES.has(fault.code) && !UNKNOWN.test(fault.message)) {
      this.refusals = 0;
      return;
    }
    const nowMs = this.options.now();
    if (this.refusals === 0) this.firstRefusalMs = nowMs;
    this.refusals += 1;
    if (this.refusals >= REFUSALS && nowMs - this.firstRefusalMs >= this.options.refusedForMs) this.refusedAtMs = nowMs;
  }
}
