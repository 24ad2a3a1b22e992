/** JSON-RPC 2.0 over HTTP, with batches. A call may be sent again: reading does no harm, and a signed transaction is mined once. */
import { DmtpError } from "../../protocol/error.ts";
import { originOf, revertData, unreachable, withoutUrls, type RpcFault } from "./rpc-fault.ts";
import type { Rpc, RpcCall } from "./rpc.ts";

export interface HttpRpcOptions {
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
  readonly pause?: (ms: number) => Promise<void>;
}

/** Providers refuse larger batches, or count each of their calls against a limit. */
const MAX_BATCH = 50;
/** An answer that is larger is no honest one: a whole range of logs that long would have been refused. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 250;
/** Too many requests, and gateways whose node is away for a moment. */
const PASSING = new Set([429, 502, 503, 504]);

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
  private readonly pause: (ms: number) => Promise<void>;
  private takesBatches = true;
  private lastId = 0;

  /** @throws CONFIGURATION_INVALID */
  constructor(text: string, { timeoutMs = 30_000, fetch: fetchAnswer = fetch, pause = sleep }: HttpRpcOptions) {
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
    this.pause = pause;
  }

  async request(call: RpcCall): Promise<unknown> {
    const id = ++this.lastId;
    return this.resultOf(await this.post({ jsonrpc: "2.0", id, ...call }), id);
  }

  async batch(calls: readonly RpcCall[]): Promise<unknown[]> {
    const results: unknown[] = [];
    for (let start = 0; start < calls.length; start += MAX_BATCH) {
      const part = calls.slice(start, start + MAX_BATCH);
      results.push(...((await this.tryBatch(part)) ?? (await Promise.all(part.map((call) => this.request(call))))));
    }
    return results;
  }

  /** Null when the endpoint takes no batches; its calls then go one by one. */
  private async tryBatch(calls: readonly RpcCall[]): Promise<unknown[] | null> {
    if (!this.takesBatches || calls.length < 2) return null;
    const first = this.lastId + 1;
    this.lastId += calls.length;
    const answer = await this.post(calls.map((call, i) => ({ jsonrpc: "2.0", id: first + i, ...call })));
    if (!Array.isArray(answer)) {
      this.takesBatches = false;
      return null;
    }
    const byId = new Map(answer.map((one: unknown) => [isObject(one) ? one.id : undefined, one]));
    return calls.map((_, i) => this.resultOf(byId.get(first + i), first + i));
  }

  private resultOf(answer: unknown, id: number): unknown {
    if (!isObject(answer)) throw this.failure("network", 0, "the answer is no JSON-RPC answer");
    const { error } = answer;
    if (error !== undefined && error !== null) {
      const { code, message, data } = isObject(error) ? error : {};
      const said = typeof message === "string" ? message : "the node answered with an error";
      throw this.failure("answer", typeof code === "number" ? code : 0, said, revertData(data));
    }
    if (answer.id !== id || !("result" in answer))
      throw this.failure("network", 0, "the answer is to another question");
    return answer.result;
  }

  private async post(body: unknown): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.postOnce(JSON.stringify(body));
      } catch (error) {
        const { fault, code } = (error as DmtpError).cause as RpcFault;
        if (attempt === ATTEMPTS || fault !== "status" || !PASSING.has(code)) throw error;
        await this.pause(FIRST_PAUSE_MS * 2 ** attempt);
      }
    }
  }

  private async postOnce(body: string): Promise<unknown> {
    let status: number;
    let text: string;
    try {
      const signal = AbortSignal.timeout(this.timeoutMs);
      const response = await this.fetch(this.url, { method: "POST", headers: this.headers, body, signal });
      status = response.status;
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
    if (!isAnswer || PASSING.has(status)) throw this.failure("status", status, `HTTP status ${status}`);
    return answer;
  }

  private failure(fault: RpcFault["fault"], code: number, message: string, data?: string): DmtpError {
    let said = withoutUrls(message);
    for (const secret of this.secrets) said = said.replaceAll(secret, "…");
    return unreachable(this.name, { fault, code, message: said, data });
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

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
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
