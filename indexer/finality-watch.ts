/** Notices that finality stands still while the chain goes on, or falls. */
import type { ChainHead } from "../io/chain/agreement/chain-view.ts";
import type { Clock } from "./clock.ts";
import type { Log } from "../io/log.ts";

/** As long is worth a word. */
const STALL_MS = 60_000;

export class FinalityWatch {
  private readonly clock: Clock;
  private readonly log: Log;
  private headNumber = -1;
  /** The head when finality last rose, and when that was. */
  private last: { readonly headNumber: number; readonly finalized: number; readonly atMs: number } | null = null;

  /** The highest final block so far, with the head then, while the chain calls less final. */
  private fallen: { readonly from: number; readonly to: number } | null = null;

  constructor(clock: Clock, log: Log) {
    this.clock = clock;
    this.log = log;
  }

  /** Takes what the chain calls final now, and logs an alarm when it is raised. */
  see({ block, finalized }: ChainHead): void {
    const before = this.alarm;
    this.headNumber = block.number;
    // A node behind the others knows less of both; one whose head is as high must not take back what was final.
    if (this.last !== null && finalized < this.last.finalized && block.number >= this.last.headNumber)
      this.fallen = { from: this.last.finalized, to: finalized };
    if (this.last !== null && finalized >= this.last.finalized) this.fallen = null;
    if (this.last === null || finalized > this.last.finalized)
      this.last = { headNumber: block.number, finalized, atMs: this.clock.now() };
    const { alarm } = this;
    if (alarm !== null && alarm !== before) this.log(`alarm: ${alarm}`, { level: "error" });
  }

  /** Null while what was called final once still is. */
  get alarm(): string | null {
    if (this.fallen === null) return null;
    return `block ${this.fallen.from} was final, and the chain now calls block ${this.fallen.to} the last final one`;
  }

  /** How long it has stood still; null while it does not, or not for long. */
  get stalledMs(): number | null {
    if (this.last === null || this.headNumber <= this.last.headNumber) return null;
    const standsMs = this.clock.now() - this.last.atMs;
    return standsMs > STALL_MS ? standsMs : null;
  }
}
