/**
 * An anchor's account (SPEC 8.3): whether its base, count, heads and state root are what its listing makes of them. Work that grows
 * with what is listed is done in steps, each of at most a thousand entries, rooms or hashes.
 */
import { equal, toBinaryString } from "../bytes.ts";
import { bytesOfCid, type Cid } from "../cid.ts";
import { decodeHeadsSteps, type Head } from "../heads.ts";
import type { Manifest } from "../manifest.ts";
import { appendSteps, EMPTY_RANGE } from "../merkle.ts";
import type { RoomId } from "../room.ts";
import { sortByKeySteps, STEP_ROOMS, type State } from "../state.ts";
import { Leaf } from "../state-tree.ts";
import { rejected, rejectedBy, VERIFIED, type Verdict } from "../verdict.ts";
import type { PlacedEntry, StoredAnchor } from "./store.ts";

/** What came of an account: a verdict, with the state after it when it is verified; or that heads blocks of this manifest are lacking. */
export type AccountFinding =
  { readonly verdict: Verdict; readonly state: State | null } | { readonly lacking: Manifest };

interface AccountInput {
  readonly anchorIndex: number;
  readonly manifest: Manifest;
  /** The state after its base. */
  readonly before: State;
  /** A page of its entries with ordinals from `from` on, ascending; empty at the end. */
  readonly listing: (from: number) => readonly PlacedEntry[];
  readonly block: (cid: Cid) => Uint8Array | undefined;
}

/** Of a binary CID. */
const CID_BYTES = 36;
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
  const rooms = new ListedRooms();
  for (let page = listing(0); page.length > 0; page = listing((page.at(-1)?.ordinal ?? 0) + 1)) {
    for (const { room, cid } of page) {
      if (!rooms.add(room, cid)) return refuse(rejected("SHARD_MALFORMED", "rooms out of order between shards"));
    }
    yield;
  }
  if (rooms.count !== manifest.count) {
    return refuse(rejected("COUNT_MISMATCH", `${rooms.count} messages listed, ${manifest.count} claimed`));
  }

  const { ids } = rooms;
  const claimed = yield* readHeads(manifest, ids, block);
  if (claimed === null) return { lacking: manifest };
  if (claimed !== "mismatch" && "status" in claimed) return refuse(claimed);
  const wrongHeads = refuse(rejected("HEADS_MISMATCH", "the heads are not those of its messages"));
  if (claimed === "mismatch") return wrongHeads;
  // Everything that costs no hash of an entry is compared before any is hashed.
  const { order, keys } = yield* sortByKeySteps(ids);
  const known = yield* before.findSteps(ids, { order, keys });
  for (const at of ids.keys()) {
    const room = known[at] ?? null;
    const isRight =
      claimed.sizes[at] === (room?.size ?? 0) + rooms.size(at) && claimed.lastIndexes[at] === (room?.lastIndex ?? null);
    if (!isRight) return wrongHeads;
    if (at % STEP === 0) yield;
  }

  let after = before;
  let touched: Leaf[] = [];
  const progress = { hashed: 0 };
  for (const at of order) {
    const id = ids[at];
    if (id === undefined) continue;
    let range = known[at]?.room.range ?? EMPTY_RANGE;
    for (const cids of rooms.cids(at)) range = yield* appendSteps(range, cids, progress);
    const leaf = new Leaf({ id, range, lastIndex: anchorIndex }, keys[at]);
    if (leaf.root !== claimed.roots[at]) return wrongHeads;
    touched.push(leaf);
    if (touched.length < STEP_ROOMS) continue;
    after = after.withLeaves(touched);
    touched = [];
    yield;
  }
  after = after.withLeaves(touched);
  return equal(after.root, manifest.state)
    ? { verdict: VERIFIED, state: after }
    : refuse(rejected("STATE_MISMATCH", "the state root is not that of its messages"));
}

/** The rooms that an anchor lists, ascending, each with its messages in order: a few arrays take a third of what as many objects would. */
class ListedRooms {
  readonly ids: RoomId[] = [];
  /** How many messages are listed up to each room, itself included. */
  private readonly ends: number[] = [];
  /** Binary CIDs, one after the other. */
  private bytes = new Uint8Array(STEP * CID_BYTES);

  /** How many messages are listed. */
  get count(): number {
    return this.ends.at(-1) ?? 0;
  }

  /** @returns false when the room is below the last one */
  add(room: RoomId, cid: Cid): boolean {
    const { ids, ends, count } = this;
    const last = ids.at(-1);
    if (last !== undefined && room < last) return false;
    if (room !== last) {
      ids.push(room);
      ends.push(count);
    }
    ends[ends.length - 1] = count + 1;
    const at = count * CID_BYTES;
    if (at === this.bytes.length) {
      const longer = new Uint8Array(2 * at);
      longer.set(this.bytes);
      this.bytes = longer;
    }
    this.bytes.set(bytesOfCid(cid), at);
    return true;
  }

  /** How many messages are listed in the room at this place. */
  size(at: number): number {
    return (this.ends[at] ?? 0) - (this.ends[at - 1] ?? 0);
  }

  /** Those messages, as binary CIDs, as many at a time as one step hashes. */
  *cids(at: number): Generator<readonly Uint8Array[]> {
    const end = this.ends[at] ?? 0;
    for (let next = this.ends[at - 1] ?? 0; next < end; next += STEP) {
      const length = Math.min(STEP, end - next);
      yield Array.from({ length }, (_, i) => this.bytes.subarray((next + i) * CID_BYTES, (next + i + 1) * CID_BYTES));
    }
  }
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
  ids: readonly RoomId[],
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
      isOfRooms &&= ids[roots.length] === room;
      sizes.push(n);
      lastIndexes.push(lastIndex);
      roots.push(toBinaryString(roomRoot));
    }
  }
  return isOfRooms && roots.length === ids.length ? { sizes, lastIndexes, roots } : "mismatch";
}
