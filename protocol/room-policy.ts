/**
 * What a room's members are, and which envelopes belong to a room. Replay, index, archive and client ask this and decide nothing of
 * it themselves, so that rooms of another kind are a change here. Today every room is that of two wallets (SPEC 5.1).
 */
import type { Address } from "./address.ts";
import type { EnvelopeHeader } from "./envelope.ts";
import { roomIdOf, type Deployment, type RoomId } from "./room.ts";
import type { VerdictCode } from "./verdict.ts";

/** Who an envelope is from and for. */
type Parties = Pick<EnvelopeHeader, "sender" | "receiver">;

interface RoomRefusal {
  readonly code: VerdictCode;
  readonly reason: string;
}

/** The index gives this many of a room's members at most. */
export const MAX_MEMBERS = 2;

export class RoomPolicy {
  private readonly deployment: Deployment;

  constructor(deployment: Deployment) {
    this.deployment = deployment;
  }

  /** Why an envelope does not belong to the room that lists it (SPEC 8.4, rules 3 to 5); null when it does. */
  refuse(header: Parties & Pick<EnvelopeHeader, "room">, listed: RoomId): RoomRefusal | null {
    if (header.sender === header.receiver) {
      return { code: "SELF_ADDRESSED", reason: "sender and receiver are the same wallet" };
    }
    if (header.room !== roomIdOf(this.deployment, header.sender, header.receiver)) {
      return { code: "ROOM_MISMATCH", reason: "the room is not that of sender and receiver in this deployment" };
    }
    if (header.room !== listed) return { code: "FOREIGN_ROOM", reason: "the message belongs to another room" };
    return null;
  }

  /**
   * The room's members, as these parties show them; none when they are not its own. A room id is a hash of its two wallets: whoever
   * names the right two has told the truth, signed or not.
   */
  listMembers(room: RoomId, parties: Parties): readonly Address[] {
    return this.refuse({ ...parties, room }, room) === null ? this.listParties(parties) : [];
  }

  /** The wallets whose keys a verdict on the envelope, and who opens it, asks for. */
  listParties({ sender, receiver }: Parties): readonly Address[] {
    return [sender, receiver];
  }

  /** The rooms that a wallet can be in with any of these, itself left out. */
  listRooms(wallet: Address, others: Iterable<Address>): ReadonlySet<RoomId> {
    const rooms = new Set<RoomId>();
    for (const other of others) if (other !== wallet) rooms.add(roomIdOf(this.deployment, wallet, other));
    return rooms;
  }
}
