/** The relay's promises (SPEC 14): whether it gives one now, by which block, and with which key. */
import { SigningKey } from "ethers/crypto";
import { computeAddress } from "ethers/transaction";

import { parseAddress, type Address } from "../protocol/address.ts";
import { fromHex, toHex, type Hex } from "../protocol/bytes.ts";
import type { Cid } from "../protocol/cid.ts";
import { hashTypedData } from "../protocol/eip712.ts";
import { makeReceipts, promiseRequest, type Receipt, type RelayKey } from "../protocol/receipt.ts";
import type { Deployment } from "../protocol/room.ts";

/** A relay's key, and who said that it may sign. */
export interface Authorization extends RelayKey {
  /** CIDStore's owner or anchorer. */
  readonly authority: Address;
  /** Over the key's `RelayKey`, 65 bytes. */
  readonly signature: Uint8Array;
}

export interface PromiserOptions {
  /** The relay's own key, 32 bytes; never the anchorer's, whose process faces no network. */
  readonly privateKey: Hex;
  readonly authorization: Authorization;
  /** How long the relay gives itself: blocks from its newest one. An hour on Polygon unless given. */
  readonly promiseBlocks?: number;
}

/** Blocks of two seconds: an hour, against a round of `anchor --watch` every ten minutes. */
const PROMISE_BLOCKS = 1_800;

/** Why no promise is given. */
export type Silence = "no key" | "key expired" | "chain unknown" | "anchoring behind";

export class Promiser {
  readonly authorization: Authorization | null;
  readonly promiseBlocks: number;
  private readonly deployment: Deployment;
  private readonly key: SigningKey | null;

  /** Without options the relay takes messages, and promises nothing. */
  constructor(deployment: Deployment, options: PromiserOptions | null) {
    this.deployment = deployment;
    this.promiseBlocks = options?.promiseBlocks ?? PROMISE_BLOCKS;
    this.key = options === null ? null : new SigningKey(options.privateKey);
    this.authorization = options?.authorization ?? null;
    if (this.key !== null && parseAddress(computeAddress(this.key)) !== this.authorization?.signer) {
      throw new RangeError("the authorization is for another key");
    }
  }

  /**
   * Why a promise can't be given now; null when it can.
   * @param head the newest block that is known
   * @param oldest the block from which the oldest promise counts that is not kept
   */
  findSilence(head: number | null, oldest: number | null): Silence | null {
    const { authorization } = this;
    if (this.key === null || authorization === null) return "no key";
    if (head === null) return "chain unknown";
    if (head < authorization.fromBlock || head > authorization.toBlock) return "key expired";
    // Half of the time is gone, and nothing was anchored: what is promised now may be broken as well.
    if (oldest !== null && head - oldest > this.promiseBlocks / 2) return "anchoring behind";
    return null;
  }

  /** The receipts of a batch; about a millisecond, however many there are. */
  promise(cids: readonly Cid[], head: number): Receipt[] {
    const { key, deployment } = this;
    if (key === null) throw new RangeError("no key to promise with");
    return makeReceipts(cids, { fromBlock: head, byBlock: head + this.promiseBlocks }, (promise) =>
      fromHex(key.sign(toHex(hashTypedData(promiseRequest(deployment, promise)))).serialized),
    );
  }
}
