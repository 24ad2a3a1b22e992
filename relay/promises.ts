/** The relay's promises (SPEC 14): whether it gives one now, by which block, and with which key. */
import { PromiseSigner, type Authorization, type RelayKeyFile } from "../io/relay-key.ts";
import type { Mailbox } from "../io/mailbox/mailbox.ts";
import type { Cid } from "../protocol/cid.ts";
import { makeReceipts, type Receipt } from "../protocol/receipt.ts";
import type { Deployment } from "../protocol/room.ts";

/** The relay's own key, and within how many blocks it promises an anchor. Never the anchorer's key: that one stays in a process that faces no network. */
export interface PromiserOptions extends RelayKeyFile {
  /** Blocks from the newest one. An hour on Polygon unless given. */
  readonly promiseBlocks?: number;
}

/** Blocks of two seconds: an hour, against a round of `anchor --watch` every ten minutes. */
const PROMISE_BLOCKS = 1_800;

/** Why no promise is given. */
export type Silence = "no key" | "key expired" | "chain unknown" | "anchoring behind";

export interface Standing {
  /** The newest block that is known. */
  readonly head: number | null;
  /** The block at which the oldest promise that is not kept yet was given; null when there is none. */
  readonly oldest: number | null;
  /** Why no promise can be given now; null when one can. */
  readonly silence: Silence | null;
}

export class Promiser {
  readonly authorization: Authorization | null;
  readonly promiseBlocks: number;
  private readonly deployment: Deployment;
  private readonly mailbox: Mailbox;
  private readonly signer: PromiseSigner | null;

  /** Without options the relay takes messages, and promises nothing. */
  constructor(deployment: Deployment, mailbox: Mailbox, options: PromiserOptions | null) {
    this.deployment = deployment;
    this.mailbox = mailbox;
    this.promiseBlocks = options?.promiseBlocks ?? PROMISE_BLOCKS;
    this.signer = options === null ? null : new PromiseSigner(options.privateKey);
    this.authorization = options?.authorization ?? null;
    if (this.signer !== null && this.signer.address !== this.authorization?.signer) {
      throw new RangeError("the authorization is for another key");
    }
  }

  /** What a promise that is given now would rest on. */
  readStanding(): Standing {
    const head = this.mailbox.log.view()?.number ?? null;
    const oldest = this.mailbox.relayed.oldestPromise();
    return { head, oldest, silence: this.findSilence(head, oldest) };
  }

  private findSilence(head: number | null, oldest: number | null): Silence | null {
    const { authorization } = this;
    if (this.signer === null || authorization === null) return "no key";
    if (head === null) return "chain unknown";
    if (head < authorization.fromBlock || head > authorization.toBlock) return "key expired";
    // Half of the time is gone, and nothing was anchored: what is promised now may be broken as well.
    if (oldest !== null && head - oldest > this.promiseBlocks / 2) return "anchoring behind";
    return null;
  }

  /** The receipts of a batch; about a millisecond, however many there are. */
  promise(cids: readonly Cid[], head: number): Receipt[] {
    const { signer, deployment } = this;
    if (signer === null) throw new RangeError("no key to promise with");
    return makeReceipts(cids, { fromBlock: head, byBlock: head + this.promiseBlocks }, (promise) =>
      signer.sign(deployment, promise),
    );
  }
}
