/** Several stores as one, and sources beside them: written to all of the stores, read from whoever answers. */
import type { Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import type { SourceHealth } from "./health.ts";
import { Sources, type SourcesOptions } from "./sources.ts";
import type { ContentSource, ContentStore, MissingOptions, GetOptions } from "./store.ts";

export type Replica = ContentStore & ContentSource;

export interface ReplicatedOptions extends SourcesOptions {
  /** Told of a store that did not take what another took; once for each store. */
  readonly warn?: (error: DmtpError) => void;
}

/**
 * What one store took is acknowledged: a node that is down must not keep anyone from sending. The others are behind then, which is
 * said by `warn`, found by `pin --check` and mended by `pin --repair`.
 */
export class ReplicatedStore implements ContentStore {
  readonly name: string;
  /** Each holds everything, when all is well. */
  readonly replicas: readonly Replica[];
  private readonly sources: Sources;
  private readonly warn: (error: DmtpError) => void;
  private readonly warnedOf = new Set<Replica>();

  /** @param others are only read from */
  constructor(replicas: readonly Replica[], others: readonly ContentSource[], options: ReplicatedOptions = {}) {
    this.replicas = replicas;
    this.name = replicas.map(({ name }) => name).join(" and ");
    this.sources = new Sources([...replicas, ...others], options);
    this.warn = options.warn ?? (() => undefined);
  }

  get(cid: Cid, { signal, maxBytes }: GetOptions = {}): Promise<Uint8Array | null> {
    return this.sources.get(cid, signal, maxBytes);
  }

  peek(cid: Cid): Promise<Uint8Array | null> {
    return this.sources.peek(cid);
  }

  async put(blocks: readonly Block[]): Promise<void> {
    await this.onAll((replica) => replica.put(blocks));
  }

  async pin(roots: readonly Cid[], { isSearching = true } = {}): Promise<void> {
    try {
      // One that is behind does not hold the others up with a search.
      await this.onAll((replica) => replica.pin(roots, { isSearching: false }));
    } catch (error) {
      if (!isSearching || !(error instanceof DmtpError) || error.code !== "CONTENT_MISSING") throw error;
      await this.onAll((replica) => replica.pin(roots));
    }
  }

  /** What any of the stores that can be asked has not. */
  async missing(roots: readonly Cid[], limit: number, options: MissingOptions = {}): Promise<Cid[]> {
    const answers = await this.onAll((replica) => replica.missing(roots, limit, options));
    return [...new Set(answers.flat())].slice(0, limit);
  }

  /** Pinned in every store that can be asked. */
  async isPinned(cids: readonly Cid[]): Promise<boolean[]> {
    const answers = await this.onAll((replica) => replica.isPinned(cids));
    return cids.map((_, i) => answers.every((pinned) => pinned[i] === true));
  }

  health(): SourceHealth[] {
    return this.sources.health();
  }

  close(): Promise<void> {
    return this.sources.close();
  }

  /** What those gave that did not fail. @throws what the first threw, when all failed; and what no store would take */
  private async onAll<T>(act: (replica: Replica) => Promise<T>): Promise<T[]> {
    const results = await Promise.allSettled(this.replicas.map(act));
    const given = results.flatMap((result) => (result.status === "fulfilled" ? [result.value] : []));
    const failures = results.flatMap((result, i) =>
      result.status === "rejected" ? [{ error: result.reason as unknown, replica: this.replicas[i] }] : [],
    );
    for (const { error, replica } of failures) {
      // The block is wrong, or this is a defect: no store is at fault.
      if (given.length === 0 || !(error instanceof DmtpError) || error.kind !== "unavailable") throw error;
      if (replica === undefined || this.warnedOf.has(replica)) continue;
      this.warnedOf.add(replica);
      this.warn(error);
    }
    return given;
  }
}
