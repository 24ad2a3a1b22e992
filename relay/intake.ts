/**
 * Messages on their way in. Each is checked by the protocol's own rules, cheap ones first; all that have come while the last commit ran are
 * then kept by one commit, and answered when that is on the disk. Nothing that is refused is kept.
 */
import type { ContentStore } from "../io/content/store.ts";
import type { Mailbox } from "../io/mailbox/mailbox.ts";
import type { Relayed, RelayedMessage } from "../io/mailbox/relayed.ts";
import type { Log } from "../io/log.ts";
import type { Address } from "../protocol/address.ts";
import { examineCandidate, type Candidate } from "../protocol/admission.ts";
import { toHex } from "../protocol/bytes.ts";
import type { Cid } from "../protocol/cid.ts";
import { primitives } from "../protocol/crypto/provider.ts";
import { SIGNATURE_INVALID } from "../protocol/entry.ts";
import { DmtpError, toDmtpError } from "../protocol/error.ts";
import type { Deployment } from "../protocol/room.ts";
import type { Limiter } from "./limits.ts";
import type { Promiser } from "./promises.ts";

/** What an operator's own rule sees of a message before it is taken. */
export interface PolicyQuestion {
  readonly sender: Address;
  readonly receiver: Address;
  readonly sizeBytes: number;
  readonly client: string;
}

/** An operator's own rule: null to take the message, or why it is refused, in words for the sender. */
export type Policy = (question: PolicyQuestion) => string | null;

export interface IntakeOptions {
  readonly deployment: Deployment;
  readonly mailbox: Mailbox;
  readonly content: Pick<ContentStore, "put">;
  readonly promiser: Promiser;
  readonly limiter: Limiter;
  readonly policy?: Policy;
  /** Whether the disk has room for more. */
  readonly hasRoom?: () => boolean;
  /** Milliseconds since 1970. */
  readonly now?: () => number;
  /** Called after a commit. */
  readonly onTaken?: () => void;
  readonly log?: Log;
}

export interface Intaken {
  readonly isNew: boolean;
  readonly message: RelayedMessage;
}

interface Waiting extends Candidate {
  readonly client: string;
  readonly resolve: (intaken: Intaken) => void;
  readonly reject: (error: DmtpError) => void;
}

/** Messages that wait for a commit; whoever comes then is told to come again. */
export const MAX_OUTSTANDING = 4_096;
/** Of one commit. */
const MAX_BATCH = 256;
/** Texts of a sender whose clock goes ahead would stand last in every conversation that is sorted by it. */
const MAX_AHEAD_MS = 15 * 60_000;

export class Intake {
  private readonly options: Required<IntakeOptions>;
  private readonly relayed: Relayed;
  private waiting: Waiting[] = [];
  private isScheduled = false;
  private isClosed = false;

  constructor(options: IntakeOptions) {
    this.options = {
      policy: () => null,
      hasRoom: () => true,
      now: Date.now,
      onTaken: () => undefined,
      log: () => undefined,
      ...options,
    };
    this.relayed = options.mailbox.relayed;
  }

  get outstanding(): number {
    return this.waiting.length;
  }

  /**
   * Takes a message; resolves when it is on the disk.
   * @throws BLOCK_HASH_MISMATCH, BLOCK_TOO_LARGE and the codes of SPEC 9.3 for what no anchor could make right; CLOCK_AHEAD,
   *   POLICY_REFUSED; SEQ_TAKEN; LIMIT_REACHED, SERVICE_BUSY, DATABASE_BUSY, DATABASE_WRITE_FAILED
   */
  async take(cid: Cid, block: Uint8Array, client: string): Promise<Intaken> {
    const { mailbox, deployment, policy, hasRoom } = this.options;
    const known = this.relayed.message(cid);
    if (known !== null && known.receipt !== null) return { isNew: false, message: known };
    if (this.isClosed || this.waiting.length >= MAX_OUTSTANDING) {
      throw new DmtpError("SERVICE_BUSY", "more is brought than the relay can keep now");
    }
    if (!hasRoom()) throw new DmtpError("DATABASE_WRITE_FAILED", "the relay's disk is nearly full");
    const candidate = examineCandidate(deployment, mailbox.log.registry, cid, block);
    const { sender, receiver, timestamp } = candidate.envelope;
    if (timestamp > this.options.now() + MAX_AHEAD_MS) {
      throw new DmtpError(
        "CLOCK_AHEAD",
        `the message is dated after the relay's clock, which says ${this.options.now()}`,
      );
    }
    const refusal = policy({ sender, receiver, sizeBytes: block.length, client });
    if (refusal !== null) throw new DmtpError("POLICY_REFUSED", refusal);
    return new Promise((resolve, reject) => {
      this.waiting.push({ ...candidate, client, resolve, reject });
      this.schedule();
    });
  }

  /** Counts what a client is about to bring, before any of it is read. @throws LIMIT_REACHED */
  admitClient(client: string): void {
    this.options.limiter.admitClient(client);
  }

  /** Answers what waits, and takes nothing more. */
  close(): void {
    this.isClosed = true;
    while (this.waiting.length > 0) this.commit();
  }

  private schedule(): void {
    if (this.isScheduled) return;
    this.isScheduled = true;
    // Whatever has come by then is one commit; under load that is all that came while the last one ran.
    setImmediate(() => {
      this.isScheduled = false;
      this.commit();
      if (this.waiting.length > 0) this.schedule();
    });
  }

  private commit(): void {
    const waiting = this.waiting.splice(0, MAX_BATCH);
    try {
      const seen = new Set<string>();
      const batch = this.verify(waiting).filter((candidate) => this.admit(candidate, seen));
      if (batch.length === 0) return;
      const taken = this.relayed.take(batch, this.findPromise());
      for (const [i, candidate] of batch.entries()) this.answer(candidate, taken[i] ?? "taken");
      void this.store(batch.filter((_, i) => taken[i] === "new"));
      this.options.onTaken();
    } catch (error) {
      // Those that were answered before are answered.
      for (const { reject } of waiting) reject(toDmtpError(error));
    }
  }

  /** All signatures of a batch at once. */
  private verify(batch: readonly Waiting[]): Waiting[] {
    const isValid = batch.length === 0 ? [] : primitives.ed25519Verify(batch.map(({ claim }) => claim));
    return batch.filter((waiting, i) => {
      if (isValid[i] === true) return true;
      this.options.limiter.chargeForgery(waiting.client);
      waiting.reject(new DmtpError(SIGNATURE_INVALID.code, SIGNATURE_INVALID.reason));
      return false;
    });
  }

  /** @param seen the pairs of wallets that wrote in this batch */
  private admit({ cid, envelope: { sender, receiver }, block, reject }: Waiting, seen: Set<string>): boolean {
    try {
      // A message that is here already, and has no promise yet, is no new one.
      if (this.relayed.message(cid) !== null) return true;
      const isFirst = !seen.has(`${sender} ${receiver}`) && !this.relayed.hasWritten(sender, receiver);
      // An inbox is protected from many senders; one sender is bounded as in any conversation.
      const isStranger = isFirst && !this.relayed.hasWritten(receiver, sender);
      this.options.limiter.admitMessage({ sender, receiver, sizeBytes: block.length, isFirst, isStranger });
      seen.add(`${sender} ${receiver}`);
      return true;
    } catch (error) {
      reject(toDmtpError(error));
      return false;
    }
  }

  private findPromise(): Parameters<Relayed["take"]>[1] {
    const { promiser } = this.options;
    const { head, silence } = promiser.readStanding();
    if (silence === "anchoring behind") {
      throw new DmtpError("ANCHORING_BEHIND", "what was promised before is not anchored yet", { retryAfterS: 60 });
    }
    return silence !== null || head === null ? null : (cids) => promiser.promise(cids, head);
  }

  private answer({ cid, envelope, resolve, reject }: Waiting, taken: "new" | "known" | "taken"): void {
    const message = this.relayed.message(cid);
    if (taken !== "taken" && message !== null) {
      resolve({ isNew: taken === "new", message });
      return;
    }
    const what = `another message of this sender has number ${envelope.seq} in the room`;
    const { mailbox } = this.options;
    const { room, sender, senderKeyVersion } = envelope;
    reject(
      new DmtpError("SEQ_TAKEN", what, {
        members: { seq: mailbox.nextSeq(room, sender, senderKeyVersion), heads: mailbox.heads(room).map(toHex) },
      }),
    );
  }

  /** The mailbox holds the messages; what the content store does not take now, `pin` gives it. */
  private async store(messages: readonly Candidate[]): Promise<void> {
    if (messages.length === 0) return;
    try {
      await this.options.content.put(messages.map(({ cid, block }) => ({ cid, bytes: block })));
    } catch (error) {
      const { code, message } = toDmtpError(error);
      this.options.log(`the content store did not take ${messages.length} blocks: ${message}`, {
        level: "warning",
        code,
      });
    }
  }
}
