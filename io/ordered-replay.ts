/**
 * A replay (SPEC 8) in the order of the chain, of blocks that are all at hand or nowhere: each anchor is decided, and each of its
 * entries, before the next is looked at, so that memory does not grow with what was said. The verdicts are those of protocol/; only
 * the order, which a replay may choose, is this one's.
 */
import { verifyAnchor, type EarlierAnchor } from "../protocol/anchor.ts";
import { ClaimList } from "../protocol/claim-list.ts";
import { digestOfCid, type Cid } from "../protocol/cid.ts";
import { primitives } from "../protocol/crypto/provider.ts";
import { claimOf, DUPLICATE, examineEntry, SIGNATURE_INVALID, type Entry } from "../protocol/entry.ts";
import type { AnchorEvent, ChainEvent } from "../protocol/event.ts";
import { KeyDirectory } from "../protocol/keys.ts";
import { manifestIn } from "../protocol/manifest.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import { decodeShard, joinShards } from "../protocol/shard.ts";
import { State, type Delta } from "../protocol/state.ts";
import { VERIFIED, type Verdict } from "../protocol/verdict.ts";
import { forEachConcurrent } from "./concurrent.ts";
import type { ContentStore } from "./content/store.ts";
import { verified } from "./content/verified.ts";
import { DigestSet } from "./digest-set.ts";

/** An anchor with the verdict on it, and what of its manifest later ones need. */
export interface OrderedAnchor {
  readonly event: AnchorEvent;
  readonly verdict: Verdict;
  readonly seq: number;
  readonly base: number | null;
}

type Source = Pick<ContentStore, "get">;
type Blocks = ReadonlyMap<Cid, Uint8Array>;

/** Messages in memory at once. */
const AHEAD = 256;
const CONCURRENT = 64;
/** States that are kept: whoever builds on an older one has it made again from its line's blocks. */
const KEPT_STATES = 4;

export class OrderedReplay {
  /** By index. */
  readonly anchors: OrderedAnchor[] = [];
  private readonly deployment: Deployment;
  private readonly content: Source;
  private readonly onEntry: (entry: Entry) => void;
  private readonly keys: KeyDirectory;
  private readonly firstIndexOf = new Map<Cid, number>();
  private readonly states = new Map<number, State>();
  /** Of messages with a verified entry. A message has one room, so none is verified in two. */
  private readonly said = new DigestSet();

  /** @param onEntry gets each entry once, in the order of the history */
  constructor(deployment: Deployment, content: Source, onEntry: (entry: Entry) => void) {
    this.deployment = deployment;
    this.content = content;
    this.onEntry = onEntry;
    this.keys = new KeyDirectory(deployment);
  }

  /** Takes the next event, in chain order. @throws CONTENT_UNREACHABLE */
  async take(event: ChainEvent): Promise<void> {
    if (event.kind !== "anchor") this.keys.add(event);
    else await this.takeAnchor(event);
  }

  /** The state at the verified anchor with the highest index. */
  async state(): Promise<State> {
    const tip = this.anchors.findLast(({ verdict }) => verdict.status === "verified");
    return tip === undefined ? State.EMPTY : this.stateAt(tip.event.index);
  }

  close(): void {
    this.said.close();
  }

  private async takeAnchor(event: AnchorEvent): Promise<void> {
    const { index, cid } = event;
    const isRepeated = cid !== null && this.firstIndexOf.has(cid);
    if (cid !== null && !isRepeated) this.firstIndexOf.set(cid, index);
    const blocks = cid === null || isRepeated ? new Map<Cid, Uint8Array>() : await this.blocksOf(cid);
    const manifest = cid === null ? null : manifestIn(blocks.get(cid));
    const base = manifest?.base?.index ?? null;
    const before = base !== null && this.anchors[base]?.verdict.status === "verified" ? await this.stateAt(base) : null;
    const finding = verifyAnchor(
      event,
      (at) => this.earlier(at, before),
      isRepeated,
      (want) => blocks.get(want),
    );
    this.anchors.push({ event, verdict: finding.verdict, seq: manifest?.seq ?? 0, base });
    if (finding.tip === null || finding.delta === null) return;
    this.keep(index, finding.tip.state);
    await this.judge(event, finding.delta);
  }

  private earlier(index: number, state: State | null): EarlierAnchor | undefined {
    const anchor = this.anchors[index];
    if (anchor === undefined) return undefined;
    const { event, verdict, seq } = anchor;
    const isTip = verdict.status === "verified" && event.cid !== null && state !== null;
    return { cid: event.cid, verdict, tip: isTip ? { index, cid: event.cid, seq, state } : null };
  }

  private async judge(event: AnchorEvent, delta: Delta): Promise<void> {
    let ordinal = 0;
    for (const [room, cids] of delta) {
      for (let start = 0; start < cids.length; start += AHEAD) {
        await this.judgePart(event, room, cids.slice(start, start + AHEAD), ordinal + start);
      }
      ordinal += cids.length;
    }
  }

  private async judgePart(event: AnchorEvent, room: RoomId, cids: readonly Cid[], first: number): Promise<void> {
    const blocks = await this.fetch(new Set(cids));
    const claims = new ClaimList();
    const findings = cids.map((cid) => {
      const finding = examineEntry(this.deployment, this.keys, { room }, event, blocks.get(cid));
      if (!("envelope" in finding)) return finding;
      const { envelope, publicKey, message } = finding;
      return { claim: claims.add(cid, publicKey, () => claimOf(envelope, publicKey)), message };
    });
    const valid = primitives.ed25519Verify(claims.claims);
    findings.forEach((finding, i) => {
      const cid = cids[i];
      if (cid === undefined) return;
      const verdict = "claim" in finding ? this.verdictOn(cid, valid[finding.claim] === true) : finding.verdict;
      this.onEntry({ room, cid, anchorIndex: event.index, ordinal: first + i, verdict, message: finding.message });
    });
  }

  private verdictOn(cid: Cid, isSigned: boolean): Verdict {
    if (!isSigned) return SIGNATURE_INVALID;
    return this.said.add(digestOfCid(cid)) ? VERIFIED : DUPLICATE;
  }

  /** The state after a verified anchor: kept, or made again from the nearest that is. */
  private async stateAt(index: number): Promise<State> {
    const above: number[] = [];
    let at: number | null = index;
    while (at !== null && !this.states.has(at)) {
      above.push(at);
      at = this.anchors[at]?.base ?? null;
    }
    let state = (at === null ? undefined : this.states.get(at)) ?? State.EMPTY;
    for (const step of above.reverse()) state = state.after(await this.deltaOf(step), step);
    if (above.length > 0) this.keep(index, state);
    return state;
  }

  private async deltaOf(index: number): Promise<Delta> {
    const cid = this.anchors[index]?.event.cid ?? null;
    const blocks = cid === null ? new Map<Cid, Uint8Array>() : await this.blocksOf(cid);
    const shards = (cid === null ? null : manifestIn(blocks.get(cid)))?.rooms ?? [];
    return joinShards(shards.map((shard) => decodeShard(blocks.get(shard) ?? new Uint8Array(0))));
  }

  private keep(index: number, state: State): void {
    this.states.delete(index);
    this.states.set(index, state);
    const [oldest] = this.states.keys();
    if (this.states.size > KEPT_STATES && oldest !== undefined) this.states.delete(oldest);
  }

  /** A manifest with its shards and heads, as far as they are there. */
  private async blocksOf(cid: Cid): Promise<Blocks> {
    const found = await this.fetch(new Set([cid]));
    const manifest = manifestIn(found.get(cid));
    if (manifest === null) return found;
    return new Map([...found, ...(await this.fetch(new Set([...manifest.rooms, ...manifest.heads])))]);
  }

  private async fetch(cids: ReadonlySet<Cid>): Promise<Blocks> {
    const found = new Map<Cid, Uint8Array>();
    await forEachConcurrent([...cids], CONCURRENT, async (cid) => {
      const bytes = verified(cid, await this.content.get(cid));
      if (bytes !== null) found.set(cid, bytes);
    });
    return found;
  }
}
