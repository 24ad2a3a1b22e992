/**
 * HTTP answers of strangers: of a bounded size, in a bounded time, never unpacked, and from no address that they should not lead
 * to. It is node:http because a connection then goes to the address that was checked, and to no other.
 */
import { request as requestHttp, Agent as HttpAgent, type IncomingMessage, type OutgoingHttpHeaders } from "node:http";
import { request as requestHttps, Agent as HttpsAgent } from "node:https";
import { isIP, type LookupFunction } from "node:net";

import { AddressGuard, type Resolve } from "./address-guard.ts";
import { faultOf, sourceFault, type SourceLabel } from "./source-fault.ts";

export interface HttpLimits {
  /** Of the body. */
  readonly sizeBytes: number;
  /** Until the headers are there. */
  readonly silenceMs: number;
  /** From the headers to the end of the body. */
  readonly bodyMs: number;
}

export interface HttpCall {
  readonly url: URL;
  readonly method: "GET" | "POST";
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent with its length: a server that waits for no more of it sees when its client is gone. */
  readonly body?: readonly Uint8Array[];
  readonly limits: HttpLimits;
  readonly signal?: AbortSignal | undefined;
}

export interface HttpAnswer {
  readonly status: number;
  readonly contentType: string;
  /** In the header Retry-After, milliseconds. */
  readonly retryAfterMs: number | undefined;
  /** The pieces of the body; throws a source fault `large` or `slow`. */
  readonly body: AsyncIterable<Uint8Array>;
  /** Lets go of it without reading the body. */
  cancel(): void;
}

export interface BoundedHttpOptions extends Pick<SourceLabel, "hint"> {
  readonly resolve?: Resolve | undefined;
}

class StaleConnection extends Error {}

const MAX_REDIRECTS = 4;
const REDIRECTS = new Set([301, 302, 303, 307, 308]);
const MAX_SOCKETS = 32;

export class BoundedHttp {
  private readonly label: SourceLabel;
  private readonly configured: URL;
  private readonly guard: AddressGuard;
  private readonly agents = {
    "http:": new HttpAgent({ keepAlive: true, maxSockets: MAX_SOCKETS }),
    "https:": new HttpsAgent({ keepAlive: true, maxSockets: MAX_SOCKETS }),
  };

  /**
   * @param configured what the operator named; a user name and password in it are sent to it alone, as basic authentication
   * @param options.hint what a person may do when it cannot be asked
   */
  constructor(configured: URL, { resolve, hint }: BoundedHttpOptions = {}) {
    this.configured = configured;
    this.label = { name: configured.host, hint };
    this.guard = new AddressGuard(configured, resolve, this.label);
  }

  /** The first answer that is no redirect. @throws source faults */
  async request(call: HttpCall): Promise<HttpAnswer> {
    let { url, method } = call;
    for (let redirects = 0; ; redirects++) {
      const response = await this.sendAgain({ ...call, url, method });
      const { statusCode = 0, headers } = response;
      if (!REDIRECTS.has(statusCode)) return this.answerOf(response, call.limits);
      response.destroy();
      if (call.method === "POST") throw sourceFault(this.label, "redirected", "it redirects what was sent to it");
      const { location = "" } = headers;
      if (redirects === MAX_REDIRECTS || !URL.canParse(location, url.href)) {
        throw sourceFault(this.label, "redirected", "it redirects to nowhere, or too often");
      }
      url = new URL(location, url.href);
      method = "GET";
      if (!/^https?:$/.test(url.protocol))
        throw sourceFault(this.label, "redirected", `it redirects to ${url.protocol}`);
    }
  }

  close(): void {
    this.agents["http:"].destroy();
    this.agents["https:"].destroy();
  }

  /** A kept connection may have been closed by the other end, which shows only when it is used: then a new one is tried. */
  private async sendAgain(call: HttpCall): Promise<IncomingMessage> {
    try {
      return await this.send(call);
    } catch (error) {
      if (!(faultOf(error).cause instanceof StaleConnection)) throw error;
      return this.send(call);
    }
  }

  private async send({ url, method, headers = {}, body = [], limits, signal }: HttpCall): Promise<IncomingMessage> {
    const addresses = await this.guard.addressesOf(url);
    const isSecure = url.protocol === "https:";
    const isConfigured = url.origin === this.configured.origin;
    const all: OutgoingHttpHeaders = {
      // A body that unpacks to more than it weighs is never asked for.
      "accept-encoding": "identity",
      ...(isConfigured && { ...headers, ...credentialsOf(this.configured) }),
      ...(method === "POST" && { "content-length": body.reduce((size, part) => size + part.length, 0) }),
    };
    if (!isConfigured && headers["accept"] !== undefined) all.accept = headers["accept"];
    const target = new URL(url);
    target.username = "";
    target.password = "";
    return new Promise((resolve, reject) => {
      const request = (isSecure ? requestHttps : requestHttp)(target, {
        method,
        headers: all,
        agent: isSecure ? this.agents["https:"] : this.agents["http:"],
        lookup: only(addresses),
        ...(signal !== undefined && { signal }),
      });
      const timer = setTimeout(() => {
        request.destroy(sourceFault(this.label, "silent", `no answer within ${limits.silenceMs} ms`));
      }, limits.silenceMs);
      request.once("error", (error: NodeJS.ErrnoException) => {
        clearTimeout(timer);
        const isOurs = error.name === "DmtpError" || signal?.aborted === true;
        const cause = request.reusedSocket ? new StaleConnection(error.message) : error;
        const what = `no connection (${error.code ?? "broken"})`;
        reject(isOurs ? error : sourceFault(this.label, "unreachable", what, cause));
      });
      request.once("response", (response) => {
        clearTimeout(timer);
        resolve(response);
      });
      if (method === "POST") for (const part of body) request.write(part);
      request.end();
    });
  }

  private answerOf(response: IncomingMessage, limits: HttpLimits): HttpAnswer {
    const { headers, statusCode = 0 } = response;
    const encoding = headers["content-encoding"] ?? "identity";
    if (encoding !== "identity") {
      response.destroy();
      throw sourceFault(this.label, "wrong", `it sent a body in ${encoding.slice(0, 20)}, which was not asked for`);
    }
    const seconds = Number(headers["retry-after"]);
    return {
      status: statusCode,
      contentType: (headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "",
      retryAfterMs: Number.isFinite(seconds) && seconds >= 0 ? seconds * 1_000 : undefined,
      body: this.readBody(response, limits),
      cancel: () => void response.destroy(),
    };
  }

  private async *readBody(response: IncomingMessage, { sizeBytes, bodyMs }: HttpLimits): AsyncGenerator<Uint8Array> {
    const claimed = Number(response.headers["content-length"] ?? 0);
    const large = (): Error => sourceFault(this.label, "large", `it sent more than ${sizeBytes} bytes`);
    const timer = setTimeout(() => {
      response.destroy(sourceFault(this.label, "slow", `its answer did not end within ${bodyMs} ms`));
    }, bodyMs);
    let read = 0;
    try {
      if (claimed > sizeBytes) throw large();
      for await (const chunk of response as AsyncIterable<Buffer>) {
        read += chunk.length;
        if (read > sizeBytes) throw large();
        yield chunk;
      }
    } catch (error) {
      if (error instanceof Error && (error.name === "DmtpError" || error.name === "AbortError")) throw error;
      throw sourceFault(this.label, "unreachable", "its answer broke off", error);
    } finally {
      clearTimeout(timer);
      response.destroy();
    }
  }
}

/** All of a body, in one piece. */
export async function readAll({ body }: HttpAnswer): Promise<Uint8Array> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body) chunks.push(chunk);
  return new Uint8Array(Buffer.concat(chunks));
}

/** A lookup that knows one answer: what was checked is what is connected to. */
function only(addresses: readonly string[]): LookupFunction {
  const entries = addresses.map((address) => ({ address, family: isIP(address) }));
  return (_host, options, callback) => {
    const [first] = entries;
    if (options.all === true) callback(null, entries);
    else callback(null, first?.address ?? "", first?.family);
  };
}

function credentialsOf({ username, password }: URL): OutgoingHttpHeaders {
  if (username === "") return {};
  const text = [username, password].map(decodeURIComponent).join(":");
  return { authorization: `Basic ${Buffer.from(text).toString("base64")}` };
}
