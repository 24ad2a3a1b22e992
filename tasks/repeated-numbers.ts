/**
 * Whether a message may repeat a sequence number: an anchor lists what no source has, and that may be messages that the same key has sent
 * from elsewhere. Two messages with one number show to everybody for ever as a fork (SPEC 8.5), so nobody sends on top of that without
 * saying so.
 */
import { catchUp } from "../io/catch-up.ts";
import type { BlockReader } from "../io/history.ts";
import { checksummed, type Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { comparePositions, type KeyEvent } from "../protocol/event.ts";
import { roomIdOf, type RoomId } from "../protocol/room.ts";
import type { Session } from "./session.ts";

/** A room in which the next number may be taken. */
interface PossibleRepeat {
  readonly room: RoomId;
  readonly receiver: Address;
  /** The last anchor with what is missing. */
  readonly anchorIndex: number;
}

/**
 * Brings the mailbox up to the chain, and finds the rooms in which the next number may be taken. What is missing is looked for once more
 * before a room counts as such.
 * @param key the sender's
 */
export async function findRepeats(
  session: Session,
  key: KeyEvent,
  receivers: ReadonlySet<Address>,
  content: BlockReader,
): Promise<PossibleRepeat[]> {
  const { mailbox, reader, now } = session;
  const { by } = await catchUp(mailbox, reader, content, { now });
  const repeats = checkRooms(session, key, receivers);
  if (repeats.length === 0 || by === "replay") return repeats;
  await catchUp(mailbox, reader, content, { now, isForced: true });
  return checkRooms(session, key, receivers);
}

/** `the next number in the room with 0x… may be taken: anchor 3 lists what no source has` */
export function describeRepeat({ receiver, anchorIndex }: PossibleRepeat): string {
  return `the next number in the room with ${checksummed(receiver)} may be taken: anchor ${anchorIndex} lists what no source has`;
}

export function refuseRepeats(repeats: readonly PossibleRepeat[]): DmtpError {
  const [first] = repeats;
  const others = repeats.length - 1;
  const what = first === undefined ? "a number may be taken" : describeRepeat(first);
  return new DmtpError("CONTENT_MISSING", others > 0 ? `${what}; so it is in ${others} more of the rooms` : what, {
    hint: "Name a source that has it (CONTENT_SOURCES), or start the node that pins it, and run the command again, with --retry-missing to wait for it. To send all the same, at the risk of two messages with one number: --accept-missing, once. Nothing was sent.",
  });
}

function checkRooms(
  { mailbox, deployment }: Session,
  key: KeyEvent,
  receivers: ReadonlySet<Address>,
): PossibleRepeat[] {
  return [...receivers].flatMap((receiver) => {
    const room = roomIdOf(deployment, key.wallet, receiver);
    const anchorIndex = mailbox.lastUnread(room);
    if (anchorIndex === null) return [];
    const anchor = mailbox.log.anchor(anchorIndex);
    // No message of a key counts that was anchored before the key was registered (SPEC 8.4).
    if (anchor !== null && comparePositions(anchor, key) < 0) return [];
    // Numbers rise from anchor to anchor: one that was anchored later is higher than any that is missing.
    const known = mailbox.lastAnchored(room, key.wallet, key.version);
    return known !== null && known > anchorIndex ? [] : [{ room, receiver, anchorIndex }];
  });
}
