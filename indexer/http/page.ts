/** A page of a list, all of one height, with the cursor that asks for the next one. */
import type { z } from "zod";

import { DmtpError } from "../../protocol/error.ts";
import type { EventId, HeightAnswer, Slice, Snapshot } from "../read/snapshot.ts";
import { decodeCursor, encodeCursor, type Basis, type Cursor, type Place } from "./cursor.ts";

export interface List<P extends Place> {
  /** What is listed and how. A cursor of another scope is refused. */
  readonly scope: string;
  readonly place: z.ZodType<P>;
  /** The contract whose events its items come from. */
  readonly contract: "anchors" | "keys";
}

export interface Page<Item> {
  readonly at: HeightAnswer;
  readonly items: Item[];
  readonly next: string | null;
}

/**
 * Where the next page begins; null for a first one.
 * @throws PARAMETER_INVALID for a cursor that this list did not give; CURSOR_ORPHANED, INDEX_BEHIND
 */
export function openCursor<P extends Place>(
  snapshot: Snapshot,
  { scope, place, contract }: List<P>,
  text: string | undefined,
): Cursor<P> | null {
  if (text === undefined) return null;
  const cursor = decodeCursor(scope, place, text);
  const { basis } = cursor;
  const event = snapshot.event(contract, basis.index);
  const stands = event !== null && event.blockNumber === basis.blockNumber && hashPrefix(event) === basis.blockHash;
  if (stands) return cursor;
  // Another indexer gave it, or this one before it read the chain again.
  if (basis.blockNumber > (snapshot.at?.block ?? -1)) {
    throw new DmtpError("INDEX_BEHIND", "the index has not read the block that the cursor rests on");
  }
  throw new DmtpError(
    "CURSOR_ORPHANED",
    `block ${basis.blockNumber}, which the cursor rests on, is not on the chain now`,
  );
}

/**
 * @param cursor what the page was asked for with
 * @param placeOf an item's place in the list
 * @param eventOf the event that an item comes from, or the newest of those that it does
 */
export function pageFrom<Item, P extends Place>(
  snapshot: Snapshot,
  { scope }: List<P>,
  cursor: Cursor<P> | null,
  { items, hasMore, lookedAt }: Slice<Item>,
  placeOf: (item: Item) => P,
  eventOf: (item: Item) => EventId,
): Page<Item> {
  const last = lookedAt ?? items.at(-1);
  const bases: Basis[] = [...items, ...(last === undefined ? [] : [last])].map((item) => {
    const event = eventOf(item);
    return { index: event.index, blockNumber: event.blockNumber, blockHash: hashPrefix(event) };
  });
  if (cursor !== null) bases.push(cursor.basis);
  const [first, ...rest] = bases;
  if (!hasMore || last === undefined || first === undefined) return { at: snapshot.at, items, next: null };
  const basis = rest.reduce((newest, other) => (other.index > newest.index ? other : newest), first);
  return { at: snapshot.at, items, next: encodeCursor(scope, { place: placeOf(last), basis }) };
}

/** Enough of a hash to tell two blocks of one number apart: 16 hexadecimal digits. */
function hashPrefix({ blockHash }: EventId): string {
  return blockHash.slice(2, 18);
}
