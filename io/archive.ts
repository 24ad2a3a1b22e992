/**
 * A part of a history as one file (SPEC 8.6): a CAR with the blocks of all anchors, the messages that were asked for, the key
 * documents of those who wrote them, and what the chain logged. Its bytes depend on nothing else, whoever makes it and from where.
 */
import { encodeArchive, encodeEvents, type ArchiveScope } from "../protocol/archive.ts";
import type { Address } from "../protocol/address.ts";
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import { envelopeIn } from "../protocol/envelope.ts";
import { DmtpError } from "../protocol/error.ts";
import type { ChainEvent } from "../protocol/event.ts";
import { keyDocumentIn } from "../protocol/key-document.ts";
import { manifestIn, type Block } from "../protocol/manifest.ts";
import type { Deployment, RoomId } from "../protocol/room.ts";
import { RoomPolicy } from "../protocol/room-policy.ts";
import { shardIn } from "../protocol/shard.ts";
import { BlockOutcomes } from "./block-outcomes.ts";
import { forEachConcurrent } from "./concurrent.ts";
import { encodeCarStream } from "./content/car.ts";
import type { ContentStore, GetOptions } from "./content/store.ts";
import { verified } from "./content/verified.ts";

/** What an archive is of. */
export interface ArchiveSubject {
  readonly deployment: Deployment;
  /** All of them up to a block, in chain order. */
  readonly events: readonly ChainEvent[];
  readonly scope: ArchiveScope;
}

type Source = Pick<ContentStore, "get">;

/** Blocks in memory at once. */
const AHEAD = 64;
/** With more requests at once than a source has connections, what it has would wait behind what it searches for, until it is given up. */
const CONCURRENT = 16;
const MAX_NAMED = 100;

/** Whether an archive of this scope holds what an anchor lists in a room. */
export function scopeFilter({
  deployment,
  events,
  scope: { room, wallet, since },
}: ArchiveSubject): (anchorIndex: number, room: RoomId) => boolean {
  if (wallet === null) return (index, id) => index >= since && (room === null || id === room);
  const registered = events.flatMap((event) => (event.kind === "key" ? event.wallet : []));
  const rooms = new RoomPolicy(deployment).listRooms(wallet, registered);
  return (index, id) => index >= since && rooms.has(id);
}

/** Makes one archive, and counts what it holds. */
export class ArchiveExport {
  anchors = 0;
  messages = 0;
  documents = 0;
  blocks = 0;
  sizeBytes = 0;
  /** Of anchors and messages: blocks that no source has. */
  missing = 0;
  /** The first of them. */
  readonly lacks: Cid[] = [];
  /** Key documents that no source has, and what is registered as one and is none: anybody can register anything. */
  readonly missingDocuments = new Set<Cid>();
  private readonly subject: ArchiveSubject;
  private readonly content: Source;
  private readonly holds: (anchorIndex: number, room: RoomId) => boolean;
  /** Where each CID was anchored first, in that order: where it comes again, it is rejected. */
  private readonly firstIndexOf = new Map<Cid, number>();
  private outcomes: BlockOutcomes | null = null;
  /** Who wrote or got the messages. */
  private readonly wallets = new Set<Address>();

  constructor(subject: ArchiveSubject, content: Source) {
    this.subject = subject;
    this.content = content;
    this.holds = scopeFilter(subject);
    for (const event of subject.events) {
      if (event.kind !== "anchor" || event.cid === null || this.firstIndexOf.has(event.cid)) continue;
      this.firstIndexOf.set(event.cid, event.index);
    }
    if (subject.scope.wallet !== null) this.wallets.add(subject.scope.wallet);
  }

  /** @throws CONTENT_UNREACHABLE, also for a block that was there at one of its places and is not any more */
  async *bytes(): AsyncGenerator<Uint8Array, void> {
    const outcomes = new BlockOutcomes();
    this.outcomes = outcomes;
    try {
      for await (const chunk of encodeCarStream(await this.roots(), this.all())) {
        this.sizeBytes += chunk.length;
        yield chunk;
      }
    } finally {
      outcomes.close();
    }
  }

  /** The manifests, in the order of their anchors. */
  private async roots(): Promise<Cid[]> {
    const roots: Cid[] = [];
    for await (const { cid, bytes } of this.fetch(this.firstIndexOf.keys(), () => undefined)) {
      if (manifestIn(bytes) !== null) roots.push(cid);
    }
    return roots;
  }

  private async *all(): AsyncGenerator<Block> {
    for await (const block of this.parts()) {
      this.blocks += 1;
      yield block;
    }
  }

  private async *parts(): AsyncGenerator<Block> {
    for (const [cid, index] of this.firstIndexOf) yield* this.anchor(cid, index);
    for await (const block of this.fetch(this.documentCids(), (cid) => this.missingDocuments.add(cid))) {
      if (keyDocumentIn(block.bytes) === null) {
        this.missingDocuments.add(block.cid);
        continue;
      }
      this.documents += 1;
      yield block;
    }
    const { deployment, scope, events } = this.subject;
    const pages: Cid[] = [];
    for (const page of encodeEvents(events)) {
      pages.push(page.cid);
      yield page;
    }
    yield encodeArchive({ deployment, scope, events: pages, missing: this.missing + this.missingDocuments.size });
  }

  private async *anchor(cid: Cid, index: number): AsyncGenerator<Block> {
    for await (const block of this.fetch([cid], this.lack, index)) {
      yield block;
      const manifest = manifestIn(block.bytes);
      if (manifest === null) return;
      this.anchors += 1;
      yield* this.fetch(manifest.heads, this.lack, index);
      // A shard at a time: an anchor's may be 32 MiB.
      for (const link of manifest.rooms) {
        for await (const shard of this.fetch([link], this.lack, index)) {
          yield shard;
          yield* this.messagesOf(index, shard.bytes);
        }
      }
    }
  }

  private async *messagesOf(anchorIndex: number, shard: Uint8Array): AsyncGenerator<Block> {
    const cids = new Set<Cid>();
    for (const [room, listed] of shardIn(shard) ?? []) {
      if (this.holds(anchorIndex, room)) for (const cid of listed) cids.add(cid);
    }
    for await (const block of this.fetch(cids, this.lack, anchorIndex)) {
      this.messages += 1;
      this.meet(block.bytes);
      yield block;
    }
  }

  private meet(message: Uint8Array): void {
    const envelope = envelopeIn(message);
    if (envelope === null) return;
    for (const wallet of new RoomPolicy(this.subject.deployment).listParties(envelope)) this.wallets.add(wallet);
  }

  private documentCids(): Set<Cid> {
    const { events, scope } = this.subject;
    const isWhole = scope.room === null && scope.wallet === null && scope.since === 0;
    const cids = new Set<Cid>();
    for (const event of events) {
      if (event.kind === "key" && (isWhole || this.wallets.has(event.wallet))) cids.add(cidOfDigest(event.document));
    }
    return cids;
  }

  private readonly lack = (cid: Cid): void => {
    this.missing += 1;
    if (this.lacks.length < MAX_NAMED) this.lacks.push(cid);
  };

  /**
   * Those of these blocks that the source has, in their order.
   * @param anchorIndex the anchor that names them
   */
  private async *fetch(
    cids: Iterable<Cid>,
    onMissing: (cid: Cid) => void,
    anchorIndex: number | null = null,
  ): AsyncGenerator<Block> {
    let part: Cid[] = [];
    for (const cid of cids) {
      part.push(cid);
      if (part.length === AHEAD) {
        yield* this.fetchPart(part, onMissing, anchorIndex);
        part = [];
      }
    }
    yield* this.fetchPart(part, onMissing, anchorIndex);
  }

  private async *fetchPart(
    cids: readonly Cid[],
    onMissing: (cid: Cid) => void,
    anchorIndex: number | null,
  ): AsyncGenerator<Block> {
    const found: (Uint8Array | null)[] = cids.map(() => null);
    await forEachConcurrent(cids, CONCURRENT, async (cid, i) => {
      found[i] = await this.get(cid, anchorIndex);
    });
    for (const [i, cid] of cids.entries()) {
      const bytes = found[i];
      if (bytes === null || bytes === undefined) onMissing(cid);
      else yield { cid, bytes };
    }
  }

  /** The same block or none, each time that it is asked for. */
  private async get(cid: Cid, anchorIndex: number | null): Promise<Uint8Array | null> {
    const before = this.outcomes?.find(cid) ?? null;
    if (before === false) return null;
    const options: GetOptions =
      anchorIndex === null ? { kind: "manifest" } : { anchors: [anchorIndex], kind: "message" };
    // One that was there is asked for like any other, whatever else this anchor names.
    const bytes = verified(cid, await this.content.get(cid, before === true ? {} : options));
    if (before === true && bytes === null)
      throw new DmtpError("CONTENT_UNREACHABLE", `${cid} was there a moment ago, and is not any more`);
    this.outcomes?.note(cid, bytes !== null);
    return bytes;
  }
}
