/**
 * An anchor's account (SPEC 8.3): whether its base, count, heads and state root are what its listing makes of them. Work that grows
 * with what is listed is done in steps, each of at most a thousand entries, rooms or hashes.
 */
import { equal, toBinaryString } from "../bytes.ts";
import { bytesOfCid, type Cid } from "../cid.ts";
import { decodeHeadsSteps, type Head } from "../heads.ts";
import type { Manifest } from "../manifest.ts";
import { append, EMPTY_RANGE } from "../merkle.ts";
import type { RoomId } from "../room.ts";
import type { State } from "../state.ts";
import { Leaf } from "../state-tree.ts";
import { rejected, rejectedBy, VERIFIED, type Verdict } from "../verdict.ts";
import type { PlacedEntry, StoredAnchor } from "./store.ts";

/** What came of an account: a verdict, with the state after it when it is verified; or that heads blocks of this manifest are lacking. */
export type AccountFinding =
  { readonly verdict: Verdict; readonly state: State | null } | { readonly lacking: Manifest };

export interface AccountInput {
  readonly anchorIndex: number;
  readonly manifest: Manifest;
  /** The state after its base. */
  readonly before: State;
  /** A page of its entries with ordinals from `from` on, ascending; empty at the end. */
  readonly listing: (from: number) => readonly PlacedEntry[];
  readonly block: (cid: Cid) => Uint8Array | undefined;
}

/** Entries, rooms or hashes of one step. */
const STEP = 1_024;

/**
 * Rules 5 and 6 of SPEC 8.3: whether an anchor may build on its base at all.
 * @param base undefined for an anchor that the chain does not have before this one
 * @returns null while the base has no verdict
 */
export function verifyBase(index: number, { base, seq }: Manifest, anchor: StoredAnchor | undefined): Verdict | null {
  if (base === null) return seq === 0 ? VERIFIED : rejected("SEQ_MISMATCH", `sequence number ${seq} without a base`);
  if (base.index >= index || anchor === undefined) {
    return rejected("BASE_IN_FUTURE", `anchor ${index} builds on anchor ${base.index}`);
  }
  if (anchor.cid !== base.cid) return rejected("PREV_MISMATCH", `prev is not the CID of anchor ${base.index}`);
  if (anchor.verdict.status === "missing") return null;
  if (anchor.verdict.status === "rejected") {
    return rejected("BASE_REJECTED", `anchor ${base.index} was rejected: ${anchor.verdict.code}`);
  }
  const before = anchor.manifest?.seq ?? -1;
  return seq === before + 1 ? VERIFIED : rejected("SEQ_MISMATCH", `sequence number ${seq} after ${before}`);
}

/**
 * Decides rules 9 to 13 of SPEC 8.3 for an anchor whose base is verified and whose shards are all listed. Yields between two steps.
 * @throws what the state of the base throws when its rows are damaged: that is no verdict on the anchor
 */
export function* verifyAccount({
  anchorIndex,
  manifest,
  before,
  listing,
  block,
}: AccountInput): Generator<undefined, AccountFinding> {
  const refuse = (verdict: Verdict): AccountFinding => ({ verdict, state: null });
  const rooms: ListedRoom[] = [];
  let count = 0;
  let last: ListedRoom | undefined;
  for (let page = listing(0); page.length > 0; page = listing((page.at(-1)?.ordinal ?? 0) + 1)) {
    for (const { room: id, cid } of page) {
      if (id === last?.id) {
        last.cids.push(cid);
        continue;
      }
      if (last !== undefined && id < last.id) {
        return refuse(rejected("SHARD_MALFORMED", "rooms out of order between shards"));
      }
      last = { id, cids: [cid] };
      rooms.push(last);
    }
    count += page.length;
    yield;
  }
  if (count !== manifest.count) {
    return refuse(rejected("COUNT_MISMATCH", `${count} messages listed, ${manifest.count} claimed`));
  }

  const claimed = yield* readHeads(manifest, rooms, block);
  if (claimed === null) return { lacking: manifest };
  if (claimed !== "mismatch" && "status" in claimed) return refuse(claimed);
  const wrongHeads = refuse(rejected("HEADS_MISMATCH", "the heads are not those of its messages"));
  if (claimed === "mismatch") return wrongHeads;
  // Everything that costs no hash of an entry is compared before any is hashed.
  const known = yield* before.findSteps(rooms);
  for (const [at, { cids }] of rooms.entries()) {
    const room = known[at] ?? null;
    const isRight =
      claimed.sizes[at] === (room?.size ?? 0) + cids.length && claimed.lastIndexes[at] === (room?.lastIndex ?? null);
    if (!isRight) return wrongHeads;
    if (at % STEP === 0) yield;
  }

  const touched: Leaf[] = [];
  let hashed = 0;
  for (const [at, { id, cids }] of rooms.entries()) {
    let range = known[at]?.room.range ?? EMPTY_RANGE;
    for (let start = 0; start < cids.length; start += STEP) {
      const part = cids.slice(start, start + STEP);
      range = append(range, part.map(bytesOfCid));
      hashed += part.length;
      if (hashed >= STEP) {
        hashed = 0;
        yield;
      }
    }
    const leaf = new Leaf({ id, range, lastIndex: anchorIndex });
    if (leaf.root !== claimed.roots[at]) return wrongHeads;
    touched.push(leaf);
  }
  const after = yield* before.withLeavesSteps(touched);
  return equal(after.root, manifest.state)
    ? { verdict: VERIFIED, state: after }
    : refuse(rejected("STATE_MISMATCH", "the state root is not that of its messages"));
}

/** A room with what an anchor lists of it: messages in order, never none. */
interface ListedRoom {
  readonly id: RoomId;
  readonly cids: Cid[];
}

/** What the heads of an anchor say of each of its rooms, in their order: a few arrays take a fifth of what as many objects would. */
interface ClaimedHeads {
  readonly sizes: readonly number[];
  readonly lastIndexes: readonly (number | null)[];
  /** Binary strings of 32 characters. */
  readonly roots: readonly string[];
}

/**
 * Reads the heads, a block in each step.
 * @returns null when blocks of them are lacking, `mismatch` when they are not of these rooms in their order
 * @throws HEADS_MALFORMED, BLOCK_TOO_LARGE, BLOCK_NOT_CANONICAL
 */
function* readHeads(
  manifest: Manifest,
  rooms: readonly ListedRoom[],
  block: AccountInput["block"],
): Generator<undefined, ClaimedHeads | Verdict | "mismatch" | null> {
  // Rule 10 comes before rule 11: a missing block decides before a malformed one.
  for (const cid of manifest.heads) {
    if (block(cid) === undefined) return null;
    yield;
  }
  const sizes: number[] = [];
  const lastIndexes: (number | null)[] = [];
  const roots: string[] = [];
  let isOfRooms = true;
  for (const cid of manifest.heads) {
    const bytes = block(cid);
    if (bytes === undefined) return null;
    let heads: Head[];
    try {
      heads = yield* decodeHeadsSteps(bytes);
    } catch (error) {
      return rejectedBy(error);
    }
    for (const { room, n, lastIndex, roomRoot } of heads) {
      isOfRooms &&= rooms[roots.length]?.id === room;
      sizes.push(n);
      lastIndexes.push(lastIndex);
      roots.push(toBinaryString(roomRoot));
    }
  }
  return isOfRooms && roots.length === rooms.length ? { sizes, lastIndexes, roots } : "mismatch";
}
