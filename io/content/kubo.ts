/** Kubo's RPC API as a content store. The client is loaded when the first block is asked for: it takes a quarter of a second. */
import type { KuboRPCClient } from "kubo-rpc-client";

import { isCid, verifyBlock, type Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import { forEachConcurrent } from "../concurrent.ts";
import { linksOf, MAX_LINK_DEPTH } from "./links.ts";
import type { ContentStore } from "./store.ts";

interface KuboOptions {
  /** How long the network is searched for a block. */
  readonly searchTimeoutMs?: number;
  /** How long a pin may take, which fetches all that it links to. */
  readonly pinTimeoutMs?: number;
}

type Kubo = typeof import("kubo-rpc-client");

const CONCURRENT = 16;
/** An answer from the node's own disk; longer means that the node hangs. */
const LOCAL_TIMEOUT_MS = 30_000;
/** Fewer pins are asked about one by one; more are looked up in the whole list. */
const MAX_SINGLE_LOOKUPS = 32;
const ABSENT = /not found|could not find|not pinned|no link|deadline|timed? ?out|cancell?ed/i;
/** `cidCodec` is Kubo's parameter since 0.13, and `format`, which the client's types know, is on its way out. */
const DAG_CBOR: object = { cidCodec: "dag-cbor", mhtype: "sha2-256", allowBigBlock: false };

export class KuboStore implements ContentStore {
  readonly name: string;
  private readonly url: URL;
  private readonly searchTimeoutMs: number;
  private readonly pinTimeoutMs: number;
  private client: Promise<KuboRPCClient & { readonly CID: Kubo["CID"] }> | undefined;

  /** @param url of the API, without a path or ending in `/api/v0`; a user name and password are sent as basic authentication */
  constructor(url: URL, { searchTimeoutMs = 15_000, pinTimeoutMs = 600_000 }: KuboOptions = {}) {
    this.url = url;
    this.name = `Kubo at ${url.host}`;
    this.searchTimeoutMs = searchTimeoutMs;
    this.pinTimeoutMs = pinTimeoutMs;
  }

  async get(cid: Cid): Promise<Uint8Array | null> {
    const bytes =
      (await this.fetchBlock(cid, { offline: true }, LOCAL_TIMEOUT_MS)) ??
      (await this.fetchBlock(cid, {}, this.searchTimeoutMs));
    if (bytes === null) return null;
    try {
      return verifyBlock(cid, bytes);
    } catch {
      return null;
    }
  }

  async put(blocks: readonly Block[]): Promise<void> {
    const { block } = await this.open();
    for (const { cid, bytes } of blocks) verifyBlock(cid, bytes);
    await forEachConcurrent(blocks, CONCURRENT, async ({ cid, bytes }) => {
      let stored: string;
      try {
        // Kubo's block folder syncs a block before it answers (flatfs, `sync` on, its default).
        stored = (await block.put(bytes, { ...DAG_CBOR, signal: AbortSignal.timeout(LOCAL_TIMEOUT_MS) })).toString();
      } catch (cause) {
        throw this.failure("CONTENT_WRITE_FAILED", `did not take ${cid}`, cause);
      }
      if (stored !== cid) throw this.failure("CONTENT_WRITE_FAILED", `stored ${cid} as ${stored}`);
    });
  }

  async pin(roots: readonly Cid[], { isSearching = true } = {}): Promise<void> {
    const { pin, CID } = await this.open();
    const options = { recursive: true, ...(isSearching ? {} : { offline: true }) };
    await forEachConcurrent(roots, CONCURRENT, async (cid) => {
      try {
        await pin.add(CID.parse(cid), { ...options, signal: AbortSignal.timeout(this.pinTimeoutMs) });
      } catch (cause) {
        if (isAbsent(cause)) throw this.failure("CONTENT_MISSING", `cannot find all that ${cid} links to`, cause);
        throw this.failure(
          isHttpError(cause) ? "CONTENT_WRITE_FAILED" : "CONTENT_UNREACHABLE",
          `did not pin ${cid}`,
          cause,
        );
      }
    });
  }

  async missing(roots: readonly Cid[], limit: number): Promise<Cid[]> {
    const missing = new Set<Cid>();
    let level = roots;
    for (let depth = 0; depth <= MAX_LINK_DEPTH; depth++) {
      const next: Cid[][] = level.map(() => []);
      await forEachConcurrent(level, CONCURRENT, async (cid, i) => {
        if (missing.size >= limit) return;
        const bytes = await this.fetchBlock(cid, { offline: true }, LOCAL_TIMEOUT_MS);
        if (bytes === null) missing.add(cid);
        else next[i] = linksOf(bytes);
      });
      level = next.flat();
    }
    return [...missing].slice(0, limit);
  }

  async isPinned(cids: readonly Cid[]): Promise<boolean[]> {
    if (cids.length > MAX_SINGLE_LOOKUPS) {
      const pinned = await this.listPins(null);
      return cids.map((cid) => pinned.has(cid));
    }
    const found = cids.map(() => false);
    await forEachConcurrent(cids, CONCURRENT, async (cid, i) => {
      found[i] = (await this.listPins(cid)).has(cid);
    });
    return found;
  }

  close(): Promise<void> {
    return Promise.resolve();
  }

  /** The recursive pins, or the one asked about: Kubo would walk all blocks of all pins to tell indirect ones. */
  private async listPins(cid: Cid | null): Promise<Set<Cid>> {
    const { pin, CID } = await this.open();
    const pinned = new Set<Cid>();
    try {
      const paths = cid === null ? {} : { paths: [CID.parse(cid)] };
      const signal = AbortSignal.timeout(this.pinTimeoutMs);
      for await (const item of pin.ls({ type: "recursive", ...paths, signal })) {
        const text = item.cid.toString();
        if (isCid(text)) pinned.add(text);
      }
    } catch (cause) {
      if (isHttpError(cause) && isAbsent(cause)) return pinned;
      throw this.failure("CONTENT_UNREACHABLE", "did not list its pins", cause);
    }
    return pinned;
  }

  /** Null when Kubo answers that it has none, or does not find one in time. */
  private async fetchBlock(cid: Cid, options: object, timeoutMs: number): Promise<Uint8Array | null> {
    const { block, CID } = await this.open();
    try {
      return await block.get(CID.parse(cid), { ...options, signal: AbortSignal.timeout(timeoutMs) });
    } catch (cause) {
      const isSearch = !("offline" in options);
      if ((isHttpError(cause) || isSearch) && isAbsent(cause)) return null;
      throw this.failure("CONTENT_UNREACHABLE", `did not give ${cid}`, cause);
    }
  }

  private open(): Promise<KuboRPCClient & { readonly CID: Kubo["CID"] }> {
    return (this.client ??= import("kubo-rpc-client").then(({ create, CID }) => {
      const url = new URL(this.url);
      const { username, password } = url;
      url.username = "";
      url.password = "";
      const credentials = btoa([username, password].map(decodeURIComponent).join(":"));
      return {
        ...create({ url, ...(username !== "" && { headers: { authorization: `Basic ${credentials}` } }) }),
        CID,
      };
    }));
  }

  /** What Kubo says is shown; what the client says of a failed connection may hold the URL, and is not. */
  private failure(
    code: "CONTENT_MISSING" | "CONTENT_UNREACHABLE" | "CONTENT_WRITE_FAILED",
    what: string,
    cause?: unknown,
  ): DmtpError {
    const said = isHttpError(cause) ? `: ${cause.message.slice(0, 200)}` : "";
    return new DmtpError(code, `${this.name} ${what}${said}`, { cause });
  }
}

/** Kubo answered, with an error. */
function isHttpError(error: unknown): error is Error {
  return error instanceof Error && error.name === "HTTPError";
}

/** The one asked for is not there; or was not found in the time given. */
function isAbsent(error: unknown): boolean {
  return error instanceof Error && (/^(?:Timeout|Abort)Error$/.test(error.name) || ABSENT.test(error.message));
}
