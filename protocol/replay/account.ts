/**
 * An anchor's account (SPEC 8.3): whether its base, count, heads and state root are what its listing makes of them. Work that grows
 * with what is listed is done in steps, each of at most a thousand entries, rooms or hashes.
 */
import { equal } from "../bytes.ts";
import { bytesOfCid, type Cid } from "../cid.ts";
import { decodeHeads, type Head } from "../heads.ts";
import type { Manifest } from "../manifest.ts";
import { append, EMPTY_RANGE, rootOf } from "../merkle.ts";
import type { RoomId } from "../room.ts";
import type { State } from "../state.ts";
import type { RoomState } from "../state-tree.ts";
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

/** Rules 9 to 13 of SPEC 8.3, of an anchor whose base is verified and whose shards are all listed. Yields between two steps. */
export function* verifyAccount(input: AccountInput): Generator<undefined, AccountFinding> {
  try {
    return yield* verify(input);
  } catch (error) {
    return { verdict: rejectedBy(error), state: null };
  }
}

function* verify({
  anchorIndex,
  manifest,
  before,
  listing,
  block,
}: AccountInput): Generator<undefined, AccountFinding> {
  const refuse = (verdict: Verdict): AccountFinding => ({ verdict, state: null });
  const delta = new Map<RoomId, Cid[]>();
  let count = 0;
  let last = "";
  for (let page = listing(0); page.length > 0; page = listing((page.at(-1)?.ordinal ?? 0) + 1)) {
    for (const { room, cid } of page) {
      if (room < last) return refuse(rejected("SHARD_MALFORMED", "rooms out of order between shards"));
      const cids = delta.get(room);
      if (cids === undefined) delta.set(room, [cid]);
      else cids.push(cid);
      last = room;
    }
    count += page.length;
    yield;
  }
  if (count !== manifest.count) {
    return refuse(rejected("COUNT_MISMATCH", `${count} messages listed, ${manifest.count} claimed`));
  }

  const blocks = manifest.heads.map((cid) => block(cid));
  if (blocks.includes(undefined)) return { lacking: manifest };
  const heads: Head[] = [];
  for (const bytes of blocks) {
    for (const head of decodeHeads(bytes ?? new Uint8Array(0))) heads.push(head);
    yield;
  }
  const wrongHeads = refuse(rejected("HEADS_MISMATCH", "the heads are not those of its messages"));
  if (heads.length !== delta.size) return wrongHeads;
  // Everything that costs no hash of an entry is compared before any is hashed, and the order of the rooms before they are looked up.
  let at = 0;
  for (const id of delta.keys()) if (heads[at++]?.room !== id) return wrongHeads;
  const known = yield* before.findSteps(delta.keys());
  at = 0;
  for (const [id, cids] of delta) {
    const head = heads[at++];
    const room = known.get(id);
    const isRight = head?.n === (room?.size ?? 0) + cids.length && head.lastIndex === (room?.lastIndex ?? null);
    if (!isRight) return wrongHeads;
    if (at % STEP === 0) yield;
  }

  const touched: RoomState[] = [];
  let hashed = 0;
  at = 0;
  for (const [id, cids] of delta) {
    let range = known.get(id)?.room.range ?? EMPTY_RANGE;
    for (let start = 0; start < cids.length; start += STEP) {
      const part = cids.slice(start, start + STEP);
      range = append(range, part.map(bytesOfCid));
      hashed += part.length;
      if (hashed >= STEP) {
        hashed = 0;
        yield;
      }
    }
    const head = heads[at++];
    if (head === undefined || !equal(rootOf(range), head.roomRoot)) return wrongHeads;
    touched.push({ id, range, lastIndex: anchorIndex });
  }
  const after = yield* before.withSteps(touched);
  return equal(after.root, manifest.state)
    ? { verdict: VERIFIED, state: after }
    : refuse(rejected("STATE_MISMATCH", "the state root is not that of its messages"));
}
