/** JSON-RPC 2.0 over HTTP, with batches. A call may be sent again: reading does no harm, and a signed transaction is mined once. */
import { DmtpError } from "../../../protocol/error.ts";
import { CallBatches, type BatchOptions } from "./call-batches.ts";
import { faultOf, originOf, unreachable, withoutUrls, type RpcFault } from "./rpc-fault.ts";
import { resultOf, type Rpc, type RpcAnswer, type RpcCall } from "./rpc.ts";
import { answerOf, isObject, readBatch, type Failure } from "./rpc-answer.ts";

export interface HttpRpcOptions extends BatchOptions {
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
}

/** An answer that is larger is no honest one: a whole range of logs that long would have been refused. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
/** A connection that was closed, as the system and fetch name it. */
const CLOSED = /ECONNRESET|EPIPE|UND_ERR_SOCKET/;
/** Statuses of a gateway, or of one that was asked too much: whatever stands in the body is not what the node says. */
const OF_GATEWAYS = new Set([429, 502, 503, 504]);

/**
 * An endpoint by its URL; a user name and password in it are sent as basic authentication.
 * @throws CONFIGURATION_INVALID
 */
export function httpRpc(url: string, options: HttpRpcOptions = {}): Rpc {
  return new HttpRpc(url, options);
}

class HttpRpc implements Rpc {
  readonly name: string;
  private readonly url: string;
  private readonly headers: Record<string, string>;
  private readonly secrets: readonly string[];
  private readonly timeoutMs: number;
  private readonly fetch: typeof fetch;
  private readonly batches: CallBatches;
  private lastId = 0;

  /** @throws CONFIGURATION_INVALID */
  constructor(text: string, { timeoutMs = 30_000, fetch: fetchAnswer = fetch, ...options }: HttpRpcOptions) {
    if (!URL.canParse(text)) throw new DmtpError("CONFIGURATION_INVALID", "the RPC URL is not a URL");
    const url = new URL(text);
    const credentials = [url.username, url.password].map(decodeCredential);
    this.name = originOf(url);
    this.headers = { "content-type": "application/json", accept: "application/json" };
    if (url.username !== "") this.headers.authorization = `Basic ${btoa(credentials.join(":"))}`;
    // What a provider's error message might repeat.
    const parts = [...credentials, ...url.pathname.split("/"), ...url.searchParams.values()];
    this.secrets = parts.filter((part) => part.length >= 6);
    url.username = "";
    url.password = "";
    this.url = url.href;
    this.timeoutMs = timeoutMs;
    this.fetch = fetchAnswer;
    this.batches = new CallBatches((calls) => this.send(calls), options);
  }

  async request(call: RpcCall): Promise<unknown> {
    return resultOf((await this.attempt([call]))[0]);
  }

  async batch(calls: readonly RpcCall[]): Promise<unknown[]> {
    return (await this.attempt(calls)).map(resultOf);
  }

  attempt(calls: readonly RpcCall[]): Promise<RpcAnswer[]> {
    return this.batches.attempt(calls);
  }

  /** One request, and an answer to each of its calls. */
  private async send(calls: readonly RpcCall[]): Promise<RpcAnswer[]> {
    const bodies = calls.map((call) => ({ jsonrpc: "2.0", id: ++this.lastId, ...call }));
    const [only] = bodies;
    const failure: Failure = (...fault) => this.failure(...fault);
    if (bodies.length === 1 && only !== undefined) return [answerOf(await this.post(only), only.id, failure)];
    const ids = bodies.map(({ id }) => id);
    return readBatch(await this.post(bodies), ids, failure);
  }

  private async post(body: unknown): Promise<unknown> {
    const text = JSON.stringify(body);
    try {
      return await this.postOnce(text);
    } catch (error) {
      const fault = faultOf(error);
      if (fault?.fault !== "network" || !CLOSED.test(fault.message)) throw error;
      // The node closed a connection that was kept open just as it was used again.
      return this.postOnce(text);
    }
  }

  private async postOnce(body: string): Promise<unknown> {
    let status: number;
    let text: string;
    let retryAfterMs: number | undefined;
    try {
      const signal = AbortSignal.timeout(this.timeoutMs);
      const { headers } = this;
      // A node that redirects could have its caller POST to services that only this machine reaches.
      const response = await this.fetch(this.url, { method: "POST", headers, body, signal, redirect: "error" });
      ({ status } = response);
      retryAfterMs = parseRetryAfter(response.headers.get("retry-after"));
      text = await readText(response);
    } catch (error) {
      if (error instanceof DOMException && error.name === "TimeoutError") {
        throw this.failure("timeout", 0, `no answer within ${this.timeoutMs} ms`);
      }
      throw this.failure("network", 0, reasonOf(error));
    }
    let answer: unknown;
    try {
      answer = JSON.parse(text);
    } catch {
      if (status === 200) throw this.failure("network", 0, "the answer is not JSON");
    }
    // Some nodes send JSON-RPC errors, reverts among them, with a status other than 200.
    const isAnswer = Array.isArray(answer) || (isObject(answer) && ("result" in answer || isObject(answer.error)));
    if (!isAnswer || OF_GATEWAYS.has(status))
      throw this.failure("status", status, `HTTP status ${status}`, undefined, retryAfterMs);
    return answer;
  }

  private failure(
    fault: RpcFault["fault"],
    code: number,
    message: string,
    data?: string,
    retryAfterMs?: number,
  ): DmtpError {
    let said = withoutUrls(message);
    for (const secret of this.secrets) said = said.replaceAll(secret, "…");
    return unreachable(this.name, { fault, code, message: said, data, retryAfterMs });
  }
}

/** @throws RangeError for a body that does not end */
async function readText(response: Response): Promise<string> {
  const decoder = new TextDecoder();
  let text = "";
  let sizeBytes = 0;
  for await (const chunk of response.body ?? []) {
    sizeBytes += chunk.length;
    if (sizeBytes > MAX_ANSWER_BYTES) throw new RangeError("the answer is too large");
    text += decoder.decode(chunk, { stream: true });
  }
  return text + decoder.decode();
}

/** The system's word for it, such as ECONNREFUSED, which fetch hides in the cause. */
function reasonOf(error: unknown): string {
  if (!(error instanceof Error)) return "no connection";
  const { cause } = error;
  if (isObject(cause) && typeof cause.code === "string") return `no connection (${cause.code})`;
  return error.message;
}

/** A number of seconds, or a date (RFC 9110, 10.2.3); in milliseconds from now. */
function parseRetryAfter(header: string | null): number | undefined {
  if (header === null) return undefined;
  const afterMs = /^\d{1,9}$/.test(header) ? Number(header) * 1_000 : Date.parse(header) - Date.now();
  return afterMs > 0 ? afterMs : undefined;
}

function decodeCredential(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new DmtpError("CONFIGURATION_INVALID", "the RPC URL has a % in its user name or password that is no escape", {
      cause,
    });
  }
}
