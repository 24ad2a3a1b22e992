/** What is found out about a room, and what the indexer claims of it. */
import type { Hex } from "../protocol/bytes.ts";
import type { Cid } from "../protocol/cid.ts";
import type { Envelope } from "../protocol/envelope.ts";
import { DmtpError } from "../protocol/error.ts";
import type { Binding } from "../protocol/keys.ts";
import type { Omissions } from "../protocol/omissions.ts";
import type { Verdict } from "../protocol/verdict.ts";
import type { AnchorAnswer } from "./api/chain.ts";
import type { RoomState } from "./api/rooms.ts";
import type { ListedMessage } from "./indexer.ts";

export interface VerifiedMessage {
  readonly cid: Cid;
  readonly anchorIndex: number;
  readonly ordinal: number;
  /** As this client finds it. */
  readonly verdict: Verdict;
  /**
   * Whether its anchor is verified, as this client finds it: then the counts and roots of the anchor's line cover it (SPEC 8.4). Without
   * the chain's events that is found as far as the anchor's own blocks show it; of its base and its other rooms the indexer is believed.
   */
  readonly accounted: boolean;
  /**
   * How the sender is known to have chosen the key: by its wallet's `signature`, which nobody can forge, or by the `chain` alone, as a
   * contract wallet. Show it. Null while missing, for what is no envelope, and for a key that the sender had not registered.
   */
  readonly binding: Binding | null;
  /** Null while missing, and for what is no envelope. */
  readonly envelope: Envelope | null;
}

/**
 * What nothing in the answers proves:
 * - `anchors`: that these manifests are what stands on the chain at these places, that each is valid in its other rooms too,
 *   and that no other one lists messages of this room;
 * - `keys`: that the wallets registered no other key and no tombstone; also the keys themselves whose binding is `chain`.
 */
export type Belief = "anchors" | "keys";

export interface VerifiedRoom {
  /** In chain order. */
  readonly messages: readonly VerifiedMessage[];
  /** Messages and root of the room at the tip; null when the tip does not have it. */
  readonly state: { readonly n: number; readonly root: Hex } | null;
  /** What the messages themselves say is missing or forked. */
  readonly omissions: Omissions;
  /** Empty when the caller gave the chain's events. */
  readonly believed: readonly Belief[];
}

/** What a way to verify a room finds out; what is missing or forked follows from it. */
export type RoomFinding = Omit<VerifiedRoom, "omissions">;

/** What the indexer says of a room, all of one moment. */
export interface RoomClaims {
  readonly anchors: readonly AnchorAnswer[];
  readonly messages: readonly ListedMessage[];
  readonly state: RoomState;
}

/** Blocks that were already got, and all others from the indexer; undefined while it has none. */
export type Blocks = (cid: Cid) => Promise<Uint8Array | undefined>;

export function untrue(what: string): DmtpError {
  return new DmtpError("ANSWER_UNTRUE", `the indexer's answer is not true: ${what}`);
}
