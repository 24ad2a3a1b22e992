/** Waiting until anchors lie as deep as was asked for, while the chain may still take them back. */
import type { Standing } from "../io/catch-up.ts";
import { isPassing } from "../io/chain/transactions/submission.ts";
import type { JournalRow } from "../io/mailbox/journal.ts";
import { DmtpError } from "../protocol/error.ts";
import type { AnchorOptions } from "./anchor-options.ts";
import type { Session } from "./session.ts";

const POLL_MS = 1_000;

export class AnchorWait {
  private readonly session: Session;
  private readonly options: AnchorOptions;
  private readonly signal: AbortSignal | undefined;
  private readonly look: () => Promise<Standing>;

  /** @param look brings the mailbox up to the chain */
  constructor(
    session: Session,
    options: AnchorOptions,
    signal: AbortSignal | undefined,
    look: () => Promise<Standing>,
  ) {
    this.session = session;
    this.options = options;
    this.signal = signal;
    this.look = look;
  }

  /** Whether the row's entry lies as deep as was asked for; false when a reorg took it back meanwhile. */
  async confirm(row: JournalRow): Promise<boolean> {
    const { mailbox } = this.session;
    if (this.options.confirmations <= 1) return true;
    return this.until(`anchor ${row.index} has not ${this.options.confirmations} confirmations`, async () => {
      const standing = await this.look();
      const now = mailbox.anchors.row(row.id);
      if (now === null || ["submitted", "abandoned"].includes(now.state)) return false;
      const event = mailbox.log.anchor(now.index);
      if (event?.cid !== now.manifest) return null;
      return standing.at.block.number - event.blockNumber + 1 >= this.options.confirmations ? true : null;
    });
  }

  /** The same for those that an earlier run anchored, and did not see lie deep enough. */
  async confirmOpen(): Promise<boolean> {
    for (const row of this.session.mailbox.anchors.open()) if (!(await this.confirm(row))) return false;
    return true;
  }

  /** Waits until these rows' anchors can't be taken back any more. @throws HEAD_MOVED when one was */
  async waitUntilFinal(ids: Iterable<number>): Promise<void> {
    const { mailbox } = this.session;
    await this.until("the last anchor is not final", async () => {
      const standing = await this.look();
      for (const id of ids) {
        const row = mailbox.anchors.row(id);
        if (row === null || !["mined", "final", "adopted"].includes(row.state)) {
          throw new DmtpError("HEAD_MOVED", "a reorg took an anchor back while it was waited for");
        }
        if (row.state === "final") continue;
        // A replay ends a row when it finds it, final or not.
        const index = row.manifest === null ? null : mailbox.log.indexOf(row.manifest);
        const event = index === null ? null : mailbox.log.anchor(index);
        if (event === null || event.blockNumber > standing.at.finalized) return null;
      }
      return true;
    });
  }

  /** Asks again and again. @throws TRANSACTION_PENDING when the time is up */
  private async until<T>(what: string, ask: () => Promise<T | null>): Promise<T> {
    const { pause, elapsedMs, terminal } = this.session;
    const startedAtMs = elapsedMs();
    for (;;) {
      let answer: T | null = null;
      let trouble: DmtpError | null = null;
      try {
        answer = await ask();
      } catch (error) {
        if (!isPassing(error)) throw error;
        trouble = error;
      }
      if (answer !== null) return answer;
      const waitedMs = elapsedMs() - startedAtMs;
      if (waitedMs >= this.options.timeoutMs || this.signal?.aborted === true) {
        throw trouble ?? new DmtpError("TRANSACTION_PENDING", `${what} after ${Math.round(waitedMs / 1_000)} s`);
      }
      terminal.progress(`${what} yet, ${Math.round(waitedMs / 1_000)} s`);
      await pause(POLL_MS, this.signal);
    }
  }
}
