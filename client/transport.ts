/** HTTP, with bounds on what a service can make its client wait for and hold. */
import { DmtpError, ERRORS, type ErrorCode } from "../protocol/error.ts";
import { parseAnswer } from "./api/check.ts";
import { refusalSchema } from "./api/service.ts";

export type Query = Readonly<Record<string, string | number | undefined>>;

export interface TransportOptions {
  readonly fetch?: typeof fetch;
  readonly timeoutMs?: number;
  /** The largest answer that is read: a page of blocks is at most about 6 MB. */
  readonly maxBytes?: number;
}

/** Whom a client talks to: its name in errors, and the code for when it does not answer. */
export interface ServiceName {
  readonly name: "indexer" | "relay";
  readonly unreachable: "INDEXER_UNREACHABLE" | "RELAY_UNREACHABLE";
}

export const INDEXER: ServiceName = { name: "indexer", unreachable: "INDEXER_UNREACHABLE" };
export const RELAY: ServiceName = { name: "relay", unreachable: "RELAY_UNREACHABLE" };

export class Transport {
  private readonly service: ServiceName;
  private readonly base: string;
  private readonly fetch: typeof fetch;
  private readonly timeoutMs: number;
  private readonly maxBytes: number;

  /** @throws CONFIGURATION_INVALID */
  constructor(service: ServiceName, url: string, options: TransportOptions = {}) {
    if (!URL.canParse(url)) throw new DmtpError("CONFIGURATION_INVALID", `the ${service.name}'s URL is not a URL`);
    this.service = service;
    this.base = url.replace(/\/+$/, "");
    // A browser's fetch must not be called as a method of something else.
    this.fetch = options.fetch ?? ((...call) => fetch(...call));
    this.timeoutMs = options.timeoutMs ?? 30_000;
    this.maxBytes = options.maxBytes ?? 16 * 1024 * 1024;
  }

  /** @throws INDEXER_UNREACHABLE or RELAY_UNREACHABLE, ANSWER_MALFORMED, and what the service's problem document says */
  async json(path: string, init: RequestInit = {}): Promise<unknown> {
    const bytes = await this.bytes(path, init);
    try {
      return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
    } catch (cause) {
      throw new DmtpError("ANSWER_MALFORMED", `the ${this.service.name}'s answer to ${path} is not JSON`, { cause });
    }
  }

  async bytes(path: string, init: RequestInit = {}): Promise<Uint8Array> {
    const signal = AbortSignal.timeout(this.timeoutMs);
    const response = await this.send(path, { ...init, signal });
    try {
      return await this.read(response);
    } catch (cause) {
      if (cause instanceof DmtpError) throw cause;
      throw this.unreachable(`the ${this.service.name}'s answer to ${path} broke off`, cause);
    }
  }

  /** An answer that does not end by itself: only its beginning has to come in time. */
  async stream(path: string, headers: Readonly<Record<string, string>>, signal: AbortSignal): Promise<Response> {
    const late = new AbortController();
    const timer = setTimeout(() => late.abort(), this.timeoutMs);
    try {
      return await this.send(path, { headers, signal: AbortSignal.any([signal, late.signal]) });
    } finally {
      clearTimeout(timer);
    }
  }

  private async send(path: string, init: RequestInit): Promise<Response> {
    let response: Response;
    try {
      response = await this.fetch(this.base + path, { ...init, redirect: "error" });
    } catch (cause) {
      throw this.unreachable(`the ${this.service.name} did not answer`, cause);
    }
    if (response.ok) return response;
    throw await this.problemOf(response);
  }

  private async problemOf(response: Response): Promise<DmtpError> {
    try {
      const value: unknown = JSON.parse(new TextDecoder().decode(await this.read(response)));
      const { code, detail } = parseAnswer(refusalSchema, value, "problem");
      const retryAfterS = Number(response.headers.get("Retry-After") ?? Number.NaN);
      if (Object.hasOwn(ERRORS, code)) {
        return new DmtpError(code as ErrorCode, detail, {
          members: value as Readonly<Record<string, unknown>>,
          ...(Number.isFinite(retryAfterS) && { retryAfterS }),
        });
      }
    } catch {
      // A proxy's error page, perhaps.
    }
    return this.unreachable(`the ${this.service.name} answered with HTTP status ${response.status}`);
  }

  private unreachable(message: string, cause?: unknown): DmtpError {
    return new DmtpError(this.service.unreachable, message, { cause });
  }

  private async read(response: Response): Promise<Uint8Array> {
    const parts: Uint8Array[] = [];
    let sizeBytes = 0;
    const reader = response.body?.getReader();
    for (let part = await reader?.read(); part?.done === false; part = await reader?.read()) {
      sizeBytes += part.value.length;
      if (sizeBytes > this.maxBytes) {
        await reader?.cancel();
        throw new DmtpError(
          "ANSWER_MALFORMED",
          `the ${this.service.name}'s answer is longer than ${this.maxBytes} bytes`,
        );
      }
      parts.push(part.value);
    }
    const bytes = new Uint8Array(sizeBytes);
    let offset = 0;
    for (const part of parts) {
      bytes.set(part, offset);
      offset += part.length;
    }
    return bytes;
  }
}

export function queryText(query: Query): string {
  const given = Object.entries(query).flatMap(([name, value]) => (value === undefined ? [] : [[name, String(value)]]));
  return given.length === 0 ? "" : `?${new URLSearchParams(given).toString()}`;
}
