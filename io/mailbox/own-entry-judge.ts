/**
 * SPEC 8.4 for own messages, without a replay. Their blocks were verified when they came into the mailbox, so only their keys are left to be
 * looked up: at the position of the anchor that lists them, or, before there is one, as of now.
 */
import { NOW } from "../../protocol/admission.ts";
import type { VerdictCode } from "../../protocol/verdict.ts";
import type { AnchorEvent } from "../../protocol/event.ts";
import type { Backlog, HeldMessages } from "./backlog.ts";
import type { Registry } from "./registry.ts";

/** Messages with the same keys that wait, and would be rejected if they were anchored now. */
interface HeldPair extends HeldMessages {
  /** The number of the pair of keys. */
  readonly id: number;
}

export class OwnEntryJudge {
  private readonly backlog: Backlog;
  private readonly registry: Registry;

  constructor(backlog: Backlog, registry: Registry) {
    this.backlog = backlog;
    this.registry = registry;
  }

  heldPairs(): HeldPair[] {
    return this.backlog.waitingPairs().flatMap(({ id, count, ...pair }) => {
      const code = this.registry.refusal(pair, NOW);
      return code === null ? [] : [{ id, code, count }];
    });
  }

  /** {@link heldPairs} by the code. */
  held(): HeldMessages[] {
    const counts = new Map<VerdictCode, number>();
    for (const { code, count } of this.heldPairs()) counts.set(code, (counts.get(code) ?? 0) + count);
    return Array.from(counts, ([code, count]) => ({ code, count }));
  }

  /** Marks what an anchor decides about the messages of a row of the journal, whose manifest it has. */
  judge(journalId: number, event: AnchorEvent): void {
    const refused = new Map<number, VerdictCode>();
    const waiting: number[] = [];
    for (const { id, ...pair } of this.backlog.pairsOf(journalId)) {
      this.registry.keepVerdicts(pair.sender);
      const code = this.registry.refusal(pair, event);
      if (code === null) continue;
      if (isMendable(code)) waiting.push(id);
      else refused.set(id, code);
    }
    this.backlog.mark(journalId, event.index, refused, waiting);
  }
}

/** Whether a later anchor can mend what an entry is rejected for: then its message waits again. */
export function isMendable(code: VerdictCode): boolean {
  return ["KEY_UNKNOWN", "RECEIVER_KEY_UNKNOWN", "FOREIGN_ROOM", "DUPLICATE"].includes(code);
}
