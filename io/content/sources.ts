/** Several sources asked for one block: the first good answer wins, and whoever gives a bad one is left alone for a while. */
import type { Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import { pause as wait } from "../pause.ts";
import { Health, type SourceHealth } from "./health.ts";
import { faultOf } from "./source-fault.ts";
import type { ContentSource } from "./store.ts";

interface Member {
  readonly source: ContentSource;
  readonly health: Health;
}

export interface SourcesOptions {
  /** Milliseconds, of a clock that only goes on. */
  readonly now?: () => number;
  readonly pause?: (ms: number) => Promise<void>;
  /** Told of a source that failed where no other had the block, so that it is given up as missing; once for each source. */
  readonly onFault?: (error: DmtpError) => void;
}

/** What a source said: bytes, that it has none, or an error, of which its health knows. */
type Answer = Uint8Array | null | DmtpError;

/** An answer that is no block, and whose it is. */
interface Said {
  readonly source: ContentSource;
  readonly answer: null | DmtpError;
}

/** The next source is asked too when the answer takes this many times as long as usual, within these bounds. */
const HEDGE_FACTOR = 3;
const MIN_HEDGE_MS = 50;
const MAX_HEDGE_MS = 2_000;
/** A connection may break for no reason: only when it breaks again, nobody can be reached. */
const ATTEMPTS = 2;
const PAUSE_MS = 250;
/** Why a request is aborted whose answer nobody waits for any more. */
const GIVEN_UP = Symbol("given up");

export class Sources {
  private readonly local: readonly Member[];
  private readonly remote: readonly Member[];
  private readonly members: readonly Member[];
  private readonly now: () => number;
  private readonly pause: (ms: number) => Promise<void>;
  private readonly onFault: (error: DmtpError) => void;
  private readonly told = new Set<string>();

  /** @param sources of those that are equally quick, the ones named first are asked first */
  constructor(
    sources: readonly ContentSource[],
    { now = () => performance.now(), pause = wait, onFault = () => undefined }: SourcesOptions = {},
  ) {
    this.now = now;
    this.pause = pause;
    this.onFault = onFault;
    this.members = sources.map((source) => ({ source, health: new Health(source.name, now) }));
    this.local = this.members.filter(({ source }) => source.isLocal);
    this.remote = this.members.filter(({ source }) => !source.isLocal);
  }

  /**
   * The block, or null when those that can be reached do not have it; bytes that are not the block's are as good as none.
   * @param signal when it is aborted, the answer is null
   * @param maxBytes what another machine sends beyond that is as good as none; the size limit of blocks by default
   * @throws CONTENT_UNREACHABLE when nobody can be reached
   */
  async get(cid: Cid, signal?: AbortSignal, maxBytes?: number): Promise<Uint8Array | null> {
    const near: Said[] = [];
    for (const member of this.local) {
      const answer = await this.ask(member, cid, undefined, maxBytes);
      if (answer instanceof Uint8Array) return answer;
      near.push({ source: member.source, answer });
    }
    // What this machine does not have says nothing of a block, unless nobody else is configured.
    const said: Said[] = this.remote.length === 0 ? near : [];
    for (let attempt = 1; this.remote.length > 0; attempt++) {
      said.length = 0;
      const bytes = await this.race(cid, said, signal, maxBytes);
      if (bytes !== null || signal?.aborted === true) return bytes;
      if (attempt === ATTEMPTS || said.length === 0 || said.some(({ answer }) => !isBroken(answer))) break;
      await this.pause(PAUSE_MS);
    }
    if (said.some(({ answer }) => !isAway(answer))) {
      this.tellFaults([...near, ...said]);
      return null;
    }
    throw said.find(({ answer }) => answer !== null)?.answer ?? this.nobody();
  }

  /** The block, from what answers at once: local sources, and what others hold themselves. Never rejects. */
  async peek(cid: Cid): Promise<Uint8Array | null> {
    for (const { source, health } of [...this.local, ...this.remote]) {
      if (health.isSuspended || (!source.isLocal && source.peek === undefined)) continue;
      try {
        const bytes = await (source.isLocal ? source.fetch(cid) : source.peek?.(cid));
        if (bytes instanceof Uint8Array) return bytes;
      } catch {
        // Whoever asks for the block itself is told of it.
      }
    }
    return null;
  }

  health(): SourceHealth[] {
    return this.members.map(({ health }) => health.read());
  }

  async close(): Promise<void> {
    for (const { source } of this.members) await source.close();
  }

  /** Asks the best source, and one more each time that an answer is bad or late. What is no block goes into `said`. */
  private race(cid: Cid, said: Said[], signal?: AbortSignal, maxBytes?: number): Promise<Uint8Array | null> {
    const members = this.remote
      .filter(({ health }) => !health.isSuspended)
      // The sort is stable: equals stay in the order of the configuration.
      .sort((a, b) => a.health.rank - b.health.rank);
    if (members.length === 0) return Promise.resolve(null);
    const over = new AbortController();
    return new Promise((resolve) => {
      let next = 0;
      let running = 0;
      let hedge: NodeJS.Timeout | undefined;
      const end = (bytes: Uint8Array | null, reason?: unknown): void => {
        clearTimeout(hedge);
        signal?.removeEventListener("abort", giveUp);
        over.abort(reason);
        resolve(bytes);
      };
      const giveUp = (): void => end(null, GIVEN_UP);
      signal?.addEventListener("abort", giveUp);
      const start = (): void => {
        clearTimeout(hedge);
        const member = members[next++];
        if (member === undefined) return;
        running += 1;
        const hedgeMs = Math.min(MAX_HEDGE_MS, Math.max(MIN_HEDGE_MS, HEDGE_FACTOR * member.health.expectedMs));
        if (next < members.length) hedge = setTimeout(start, hedgeMs);
        void this.ask(member, cid, over.signal, maxBytes).then((answer) => {
          running -= 1;
          if (over.signal.aborted) return;
          if (answer instanceof Uint8Array) {
            end(answer);
            return;
          }
          said.push({ source: member.source, answer });
          if (next < members.length) start();
          else if (running === 0) end(null);
        });
      };
      start();
    });
  }

  /** Never rejects. */
  private async ask({ source, health }: Member, cid: Cid, signal?: AbortSignal, maxBytes?: number): Promise<Answer> {
    const startedAtMs = this.now();
    try {
      const bytes = await source.fetch(cid, signal, maxBytes);
      if (bytes === null) health.absent();
      else health.found(this.now() - startedAtMs);
      return bytes;
    } catch (error) {
      // Another one was quicker: that says nothing of it but that it was not the quickest. Who gave up says nothing of it at all.
      if (signal?.aborted === true) {
        if (signal.reason !== GIVEN_UP) health.outrun(this.now() - startedAtMs);
        return null;
      }
      const known =
        error instanceof DmtpError
          ? error
          : new DmtpError("CONTENT_UNREACHABLE", `${source.name} failed`, { cause: error });
      // Whoever named the block as something that is never so large is at fault.
      if (maxBytes !== undefined && faultOf(known).fault === "large") {
        health.absent();
        return null;
      }
      health.failed(known);
      return known;
    }
  }

  /** Whether those that failed, and those that are not asked now, have the block is unknown. */
  private tellFaults(said: readonly Said[]): void {
    const suspended = this.remote.filter(({ health }) => health.isSuspended);
    const failed = [...said, ...suspended.map(({ source, health }) => ({ source, answer: health.lastError }))];
    for (const { source, answer } of failed) {
      if (answer === null || this.told.has(source.name)) continue;
      this.told.add(source.name);
      this.onFault(answer);
    }
  }

  private nobody(): DmtpError {
    const last = this.health().find(({ lastFault }) => lastFault !== null)?.lastFault?.message ?? "none is configured";
    return new DmtpError("CONTENT_UNREACHABLE", `no content source can be asked now; ${last}`);
  }
}

function isBroken(answer: Said["answer"]): boolean {
  return answer !== null && faultOf(answer).fault === "unreachable";
}

/** Whether the source could not be asked, which leaves it open whether it has the block. */
function isAway(answer: Said["answer"]): boolean {
  return answer !== null && ["unreachable", "busy", "redirected"].includes(faultOf(answer).fault);
}
