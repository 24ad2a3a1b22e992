/**
 * What is asked of Kubo's RPC API. Pins go through kubo-rpc-client, which is loaded at the first of them: it takes a quarter of a
 * second. Blocks do not. It has no way to bound an answer when they are read, and the API may be a stranger's; and what it sends
 * has no length, so that Kubo does not see when its client has gone, and no time limit: an import that lacks a block to pin would
 * search for it without end, with the lock on garbage collection in its hand.
 */
import { randomUUID } from "node:crypto";

import type { KuboRPCClient } from "kubo-rpc-client";

import { utf8 } from "../../protocol/bytes.ts";
import { MAX_BLOCK_BYTES } from "../../protocol/cbor.ts";
import { isCid, type Cid } from "../../protocol/cid.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import { BoundedHttp, readAll, type HttpAnswer, type HttpLimits } from "./bounded-http.ts";
import { encodeCar } from "./car.ts";
import {
  findPinProblem,
  isAbsent,
  isHttpError,
  isRefusedBefore,
  parseMessage,
  saysAbsent,
  shorten,
} from "./kubo-answer.ts";
import { refuseRedirects } from "./no-redirects.ts";
import { faultOf, sourceFault, type SourceLabel } from "./source-fault.ts";

type Kubo = typeof import("kubo-rpc-client");

/** An answer from the node's own disk; longer means that the node hangs. */
const LOCAL_TIMEOUT_MS = 30_000;
const BODY_TIMEOUT_MS = 10_000;
/** Kubo gives up by itself a little before nobody waits for it any more. */
const GRACE_MS = 1_000;
const MAX_MESSAGE_BYTES = 4_096;

/** Kubo itself was not asked, or did not answer, which a smaller body may change: a proxy before it has a limit, say. */
class BodyRefused extends Error {}

/** Whether the same blocks in smaller parts may be taken. */
export function isBodyRefused(error: unknown): boolean {
  return error instanceof DmtpError && error.cause instanceof BodyRefused;
}

export class KuboRpc {
  readonly name: string;
  private readonly url: URL;
  private readonly api: string;
  private readonly http: BoundedHttp;
  private readonly headers: Readonly<Record<string, string>>;
  private readonly label: SourceLabel;
  private client: Promise<KuboRPCClient & { readonly CID: Kubo["CID"] }> | undefined;

  /** @param url of the API, without a path or ending in `/api/v0`; a user name and password are sent as basic authentication */
  constructor(url: URL, headers: Readonly<Record<string, string>>, hint?: string) {
    this.url = url;
    this.api = `${url.origin}${url.pathname === "/" ? "/api/v0" : url.pathname.replace(/\/$/, "")}`;
    this.name = `Kubo at ${url.host}`;
    this.label = { name: this.name, hint };
    this.http = new BoundedHttp(url, { hint });
    this.headers = headers;
  }

  close(): void {
    this.http.close();
  }

  /**
   * Writes blocks, each synced before Kubo answers (flatfs, `sync` on, its default), and pins `root` in the same step or not.
   * Kubo holds its garbage collection off until both are done.
   */
  async import(blocks: readonly Block[], root: Cid, pinRoots: boolean, timeoutMs: number): Promise<void> {
    let said: string;
    let answer: HttpAnswer;
    try {
      const query = `pin-roots=${pinRoots}&timeout=${timeoutMs}ms`;
      const limits = { sizeBytes: MAX_MESSAGE_BYTES, silenceMs: timeoutMs + GRACE_MS, bodyMs: LOCAL_TIMEOUT_MS };
      answer = await this.post(`dag/import?${query}`, limits, { body: encodeCar([root], blocks) });
      said = await readText(answer);
    } catch (cause) {
      throw this.importFailure(cause);
    }
    const problem = answer.status === 200 ? (pinRoots ? findPinProblem(said, root) : null) : parseMessage(said);
    if (problem === null) return;
    if (answer.status !== 200 && isRefusedBefore(answer.status, said)) {
      throw this.refusedBody(`HTTP status ${answer.status}: ${problem}`);
    }
    const lacking = /deadline|canceled/.test(problem) ? await this.lacking(root, timeoutMs).catch(() => null) : null;
    if (lacking !== null) throw new DmtpError("CONTENT_MISSING", `${this.name} lacks what is to be pinned: ${lacking}`);
    const what = answer.status === 200 ? "did not pin what it took" : "did not take the blocks";
    throw new DmtpError("CONTENT_WRITE_FAILED", `${this.name} ${what}: ${problem}`);
  }

  /** Pins a root and all that it links to; what Kubo has not, it searches for. */
  async pin(root: Cid, timeoutMs: number): Promise<void> {
    const { pin, CID } = await this.open();
    try {
      // Kubo has to be told: it would search on for one who has hung up.
      const options = { recursive: true, timeout: `${timeoutMs}ms` as unknown as number };
      const signal = AbortSignal.timeout(timeoutMs + GRACE_MS);
      await this.again(() => pin.add(CID.parse(root), { ...options, signal }));
    } catch (cause) {
      if (!isAbsent(cause)) {
        const code = isHttpError(cause) ? "CONTENT_WRITE_FAILED" : "CONTENT_UNREACHABLE";
        throw this.failure(code, `did not pin ${root}`, cause);
      }
      const lacking = (await this.lacking(root, timeoutMs).catch(() => null)) ?? root;
      throw new DmtpError("CONTENT_MISSING", `${this.name} cannot find what is to be pinned: ${lacking}`, { cause });
    }
  }

  /** What Kubo says that it has not on its own disk of all that a root links to; null when it has everything. */
  async lacking(root: Cid, timeoutMs: number): Promise<string | null> {
    const limits = { sizeBytes: MAX_MESSAGE_BYTES, silenceMs: timeoutMs, bodyMs: LOCAL_TIMEOUT_MS };
    const answer = await this.post(`dag/stat?arg=${root}&offline=true&progress=false`, limits);
    const said = parseMessage(await readText(answer));
    // An error of a walk that has begun comes in the trailer; without one, the answer has the totals.
    if (answer.status === 200) return said === "" ? "a part of it" : null;
    if (answer.status === 500 && saysAbsent(said)) return said;
    throw this.statusFault(answer, said);
  }

  /** The recursive pins, or the one asked about: Kubo would walk all blocks of all pins to tell indirect ones. */
  async listPins(cid: Cid | null, timeoutMs: number): Promise<Set<Cid>> {
    const { pin, CID } = await this.open();
    try {
      return await this.again(async () => {
        const pinned = new Set<Cid>();
        const paths = cid === null ? {} : { paths: [CID.parse(cid)] };
        const signal = AbortSignal.timeout(timeoutMs);
        for await (const item of pin.ls({ type: "recursive", ...paths, signal })) {
          const text = item.cid.toString();
          if (isCid(text)) pinned.add(text);
        }
        return pinned;
      });
    } catch (cause) {
      if (isHttpError(cause) && isAbsent(cause)) return new Set();
      throw this.failure("CONTENT_UNREACHABLE", "did not list its pins", cause);
    }
  }

  /**
   * Null when Kubo answers that it has none, or does not find one in time.
   * @param searchTimeoutMs how long the network is searched; null looks on Kubo's own disk only
   */
  async getBlock(
    cid: Cid,
    searchTimeoutMs: number | null,
    signal?: AbortSignal,
    maxBytes = MAX_BLOCK_BYTES,
  ): Promise<Uint8Array | null> {
    const isOffline = searchTimeoutMs === null;
    const timeoutMs = searchTimeoutMs ?? LOCAL_TIMEOUT_MS;
    const query = `arg=${cid}&timeout=${timeoutMs}ms${isOffline ? "&offline=true" : ""}`;
    let answer: HttpAnswer;
    try {
      const limits = { sizeBytes: maxBytes, silenceMs: timeoutMs + GRACE_MS, bodyMs: BODY_TIMEOUT_MS };
      answer = await this.post(`block/get?${query}`, limits, { signal });
    } catch (error) {
      // It searches on: nobody has the block, or nobody who is near.
      if (!isOffline && faultOf(error).fault === "silent") return null;
      throw error;
    }
    const bytes = await readAll(answer);
    if (answer.status === 200) return bytes;
    const said = parseMessage(new TextDecoder().decode(bytes.subarray(0, MAX_MESSAGE_BYTES)));
    if (answer.status === 500 && saysAbsent(said)) return null;
    throw this.statusFault(answer, said, "refused");
  }

  /** Whether it took them is not known when the connection broke, or no answer came in time. */
  private importFailure(cause: unknown): DmtpError {
    const { fault, cause: reason } = faultOf(cause);
    const { hint } = this.label;
    const code = (reason as NodeJS.ErrnoException | undefined)?.code;
    // Some servers do not answer a body that is too large, but end its connection.
    if (code === "ECONNRESET" || code === "EPIPE") return this.refusedBody("the connection broke", cause);
    if (!["unreachable", "busy", "redirected"].includes(fault)) {
      return new DmtpError("CONTENT_WRITE_FAILED", `${this.name} did not take the blocks`, { cause });
    }
    const what = cause instanceof DmtpError ? cause.message : `${this.name}: no connection`;
    return new DmtpError("CONTENT_UNREACHABLE", what, { cause, ...(hint !== undefined && { hint }) });
  }

  private refusedBody(what: string, cause?: unknown): DmtpError {
    const refused = new BodyRefused(what, { cause });
    return new DmtpError("CONTENT_WRITE_FAILED", `${this.name} did not take the blocks: ${what}`, { cause: refused });
  }

  private post(
    command: string,
    limits: HttpLimits,
    { body, signal }: { readonly body?: Iterable<Uint8Array>; readonly signal?: AbortSignal | undefined } = {},
  ): Promise<HttpAnswer> {
    const form = body === undefined ? undefined : encodeForm(body);
    return this.http.request({
      url: new URL(`${this.api}/${command}`),
      method: "POST",
      headers: { ...this.headers, ...form?.headers },
      ...(form !== undefined && { body: form.body }),
      limits,
      signal,
    });
  }

  /** @param failed what Kubo's own error, a 500, is a fault of */
  private statusFault(
    { status, retryAfterMs }: HttpAnswer,
    said: string,
    failed: "refused" | "unreachable" = "unreachable",
  ): DmtpError {
    const what = `HTTP status ${status}${said === "" ? "" : `: ${said}`}`;
    const fault = status === 429 || status === 503 ? "busy" : status === 500 ? failed : "unreachable";
    return sourceFault(this.label, fault, what, undefined, retryAfterMs);
  }

  private open(): Promise<KuboRPCClient & { readonly CID: Kubo["CID"] }> {
    return (this.client ??= import("kubo-rpc-client").then(({ create, CID }) => {
      const { username, password } = this.url;
      const credentials = btoa([username, password].map(decodeURIComponent).join(":"));
      refuseRedirects(this.api);
      const headers = { ...this.headers, ...(username !== "" && { authorization: `Basic ${credentials}` }) };
      return { ...create({ url: new URL(this.api), headers }), CID };
    }));
  }

  /** Once more when the connection broke: Kubo was started again, and the client had kept one to the old process. */
  private async again<T>(work: () => Promise<T>): Promise<T> {
    try {
      return await work();
    } catch (error) {
      const isBroken = error instanceof TypeError && !/^(?:Timeout|Abort)Error$/.test(error.name);
      if (!isBroken) throw error;
      return work();
    }
  }

  /** What Kubo says is shown; what the client says of a failed connection may hold the URL, and is not. */
  private failure(
    code: "CONTENT_MISSING" | "CONTENT_UNREACHABLE" | "CONTENT_WRITE_FAILED",
    what: string,
    cause?: unknown,
  ): DmtpError {
    const said = isHttpError(cause) ? `: ${shorten(cause.message)}` : "";
    return new DmtpError(code, `${this.name} ${what}${said}`, { cause });
  }
}

/** multipart/form-data (RFC 7578) with one file. */
function encodeForm(file: Iterable<Uint8Array>): { headers: Readonly<Record<string, string>>; body: Uint8Array[] } {
  const boundary = `dmtp-${randomUUID()}`;
  const head = [
    `--${boundary}`,
    'content-disposition: form-data; name="file"; filename="blocks.car"',
    "content-type: application/octet-stream",
  ];
  return {
    headers: { "content-type": `multipart/form-data; boundary=${boundary}` },
    body: [utf8(`${head.join("\r\n")}\r\n\r\n`), ...file, utf8(`\r\n--${boundary}--\r\n`)],
  };
}

async function readText(answer: HttpAnswer): Promise<string> {
  return new TextDecoder().decode(await readAll(answer));
}
