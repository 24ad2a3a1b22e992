/** Notices that finality stands still while the chain goes on. */
import type { ChainHead } from "../io/chain/agreement/chain-head.ts";
import type { Clock } from "./clock.ts";

/** As long is worth a word. */
const STALL_MS = 60_000;

export class FinalityWatch {
  private readonly clock: Clock;
  private headNumber = -1;
  /** The head when finality last rose, and when that was. */
  private last: { readonly headNumber: number; readonly finalized: number; readonly atMs: number } | null = null;

  constructor(clock: Clock) {
    this.clock = clock;
  }

  see({ block, finalized }: ChainHead): void {
    this.headNumber = block.number;
    if (this.last === null || finalized > this.last.finalized)
      this.last = { headNumber: block.number, finalized, atMs: this.clock.now() };
  }

  /** How long it has stood still; null while it does not, or not for long. */
  get stalledMs(): number | null {
    if (this.last === null || this.headNumber <= this.last.headNumber) return null;
    const standsMs = this.clock.now() - this.last.atMs;
    return standsMs > STALL_MS ? standsMs : null;
  }
}
