/** The verdict on one anchor (SPEC 8.3): a function of its own blocks and of the line of manifests it builds on. */
import { equal } from "./bytes.ts";
import type { Cid } from "./cid.ts";
import type { AnchorEvent } from "./event.ts";
import { decodeHeads, equalHeads, headsOf, type Head } from "./heads.ts";
import { decodeManifest, type Manifest, type Tip } from "./manifest.ts";
import { decodeShard, joinShards } from "./shard.ts";
import { State, type Delta } from "./state.ts";
import { MISSING, rejected, rejectedBy, VERIFIED, type Verdict } from "./verdict.ts";

/** A block's bytes, already proved to be what the CID names; undefined while no source has it. */
export type BlockSource = (cid: Cid) => Uint8Array | undefined;

/** What has been found out about an anchor. */
export interface AnchorFinding {
  readonly verdict: Verdict;
  /** Null while missing, and when the block is no manifest. */
  readonly manifest: Manifest | null;
  /** What it adds, when verified. */
  readonly delta: Delta | null;
  /** The line's new tip, when verified. */
  readonly tip: Tip | null;
  /** The blocks it waits for. Empty for a decided anchor, and for one that waits for its base only. */
  readonly wants: readonly Cid[];
}

export interface Anchor extends AnchorFinding {
  readonly event: AnchorEvent;
}

/** An anchor as those that build on it see it. */
export interface EarlierAnchor {
  readonly cid: Cid | null;
  readonly verdict: Verdict;
  readonly tip: Tip | null;
}

/** As long as nothing is known of an anchor. */
export const UNDECIDED: AnchorFinding = { verdict: MISSING, manifest: null, delta: null, tip: null, wants: [] };

/**
 * Decides one anchor as far as the blocks at hand allow.
 * @param earlier an anchor before it, by index; undefined for one that the chain does not have
 * @param repeated whether an earlier anchor has the same CID
 */
export function verifyAnchor(
  event: Pick<AnchorEvent, "index" | "cid">,
  earlier: (index: number) => EarlierAnchor | undefined,
  repeated: boolean,
  get: BlockSource,
): AnchorFinding {
  const undecided = UNDECIDED;
  const { cid } = event;
  if (cid === null)
    return { ...undecided, verdict: rejected("CID_NOT_CANONICAL", "the anchored text is not a DMTP CID") };
  if (repeated) return { ...undecided, verdict: rejected("ANCHOR_REPEATED", "the same CID was anchored before") };
  const block = get(cid);
  if (block === undefined) return { ...undecided, wants: [cid] };

  let manifest: Manifest | null = null;
  try {
    manifest = decodeManifest(block);
    const found = { ...undecided, manifest };

    const anchor = baseOf(event, manifest, earlier);
    const base = verifyBase(event, manifest, anchor);
    if (base.status !== "verified") return { ...found, verdict: base };
    const tip = anchor?.tip ?? null;
    if (manifest.seq !== (tip === null ? 0 : tip.seq + 1)) {
      return {
        ...found,
        verdict: rejected("SEQ_MISMATCH", `sequence number ${manifest.seq} after ${tip?.seq ?? "none"}`),
      };
    }

    const links = [...manifest.rooms, ...manifest.heads];
    // Each is asked for once: a source that loses a block in between must not turn "missing" into a rejection.
    const blocks = links.map((link) => get(link));
    const wants = links.filter((_, i) => blocks[i] === undefined);
    if (wants.length > 0) return { ...found, wants };
    const present = blocks.filter((part) => part !== undefined);
    const delta = joinShards(present.slice(0, manifest.rooms.length).map((shard) => decodeShard(shard)));
    const heads = present.slice(manifest.rooms.length).flatMap((part) => decodeHeads(part));

    const before = tip?.state ?? State.EMPTY;
    const state = before.after(delta, event.index);
    const verdict = verifyClaims(manifest, delta, heads, before, state);
    if (verdict.status !== "verified") return { ...found, verdict };
    return { ...found, verdict, delta, tip: { index: event.index, cid, seq: manifest.seq, state } };
  } catch (error) {
    return { ...undecided, manifest, verdict: rejectedBy(error) };
  }
}

function baseOf(
  { index }: Pick<AnchorEvent, "index">,
  { base }: Manifest,
  earlier: (index: number) => EarlierAnchor | undefined,
): EarlierAnchor | undefined {
  return base === null || base.index >= index ? undefined : earlier(base.index);
}

function verifyBase(event: Pick<AnchorEvent, "index">, { base }: Manifest, anchor: EarlierAnchor | undefined): Verdict {
  if (base === null) return VERIFIED;
  if (anchor === undefined) {
    return rejected("BASE_IN_FUTURE", `anchor ${event.index} builds on anchor ${base.index}`);
  }
  if (anchor.cid !== base.cid) return rejected("PREV_MISMATCH", `prev is not the CID of anchor ${base.index}`);
  if (anchor.verdict.status === "rejected") {
    return rejected("BASE_REJECTED", `anchor ${base.index} was rejected: ${anchor.verdict.code}`);
  }
  return anchor.verdict;
}

function verifyClaims(manifest: Manifest, delta: Delta, heads: readonly Head[], before: State, after: State): Verdict {
  let count = 0;
  for (const cids of delta.values()) count += cids.length;
  if (count !== manifest.count)
    return rejected("COUNT_MISMATCH", `${count} messages listed, ${manifest.count} claimed`);
  if (!equalHeads(heads, headsOf(delta, before, after))) {
    return rejected("HEADS_MISMATCH", "the heads are not those of its messages");
  }
  if (!equal(after.root, manifest.state))
    return rejected("STATE_MISMATCH", "the state root is not that of its messages");
  return VERIFIED;
}
