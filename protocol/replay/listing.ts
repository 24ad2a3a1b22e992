/** The listing of an anchor (SPEC 8.3): each of its shards that reads contributes its entries by itself. */
import type { RoomId } from "../room.ts";
import { decodeShardSteps, MAX_SHARD_ENTRIES } from "../shard.ts";
import type { Delta } from "../state.ts";
import { rejectedBy, type Verdict } from "../verdict.ts";
import type { EntryJudge } from "./entry-judge.ts";
import type { OpenPart, ReplayStore } from "./store.ts";

interface ShardInput {
  readonly part: OpenPart;
  readonly block: Uint8Array;
  readonly store: Pick<ReplayStore, "listedCount">;
  readonly entries: Pick<EntryJudge, "list" | "decide" | "isFull">;
  /** Null for all rooms. */
  readonly onlyRoom: RoomId | null;
}

/** Places that one step lists or judges. */
export const STEP_PLACES = 128;

/**
 * Lists what a shard has; places that were listed before the end of a process are passed over.
 * @returns null, or why the block is no shard
 */
export function* listShard({
  part,
  block,
  store,
  entries,
  onlyRoom,
}: ShardInput): Generator<undefined, Verdict | null> {
  const { anchorIndex } = part;
  let rooms: Delta;
  try {
    rooms = yield* decodeShardSteps(block);
  } catch (error) {
    return rejectedBy(error);
  }
  let ordinal = MAX_SHARD_ENTRIES * part.part;
  let toPassOver = store.listedCount(anchorIndex, part.part);
  for (const [room, cids] of rooms) {
    const isListed = onlyRoom === null || room === onlyRoom;
    for (const cid of cids) {
      if (isListed && toPassOver > 0) toPassOver -= 1;
      else if (isListed) entries.list({ anchorIndex, ordinal, room, cid });
      ordinal += 1;
      if (ordinal % STEP_PLACES !== 0 && !entries.isFull) continue;
      entries.decide();
      yield;
    }
  }
  entries.decide();
  return null;
}
