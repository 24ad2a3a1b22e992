/** JSON-RPC 2.0 over HTTP, with batches. A call may be sent again: reading does no harm, and a signed transaction is mined once. */
import { DmtpError } from "../../protocol/error.ts";
import { originOf, unreachable, withoutUrls, type RpcFault } from "./rpc-fault.ts";
import { resultOf, type Rpc, type RpcAnswer, type RpcCall } from "./rpc.ts";
import { answerOf, isObject } from "./rpc-answer.ts";

export interface HttpRpcOptions {
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
  readonly pause?: (ms: number) => Promise<void>;
}

/** Where it begins; a provider that refuses it gets ever smaller ones. */
const MAX_BATCH = 100;
/** An answer that is larger is no honest one: a whole range of logs that long would have been refused. */
const MAX_ANSWER_BYTES = 256 * 1024 * 1024;
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 250;
/** A connection that was closed, as the system and fetch name it. */
const CLOSED = /ECONNRESET|EPIPE|UND_ERR_SOCKET/;
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
  private maxBatch = MAX_BATCH;
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
    return resultOf(this.read(await this.post({ jsonrpc: "2.0", id, ...call }), id));
  }

  async batch(calls: readonly RpcCall[]): Promise<unknown[]> {
    return (await this.attempt(calls)).map(resultOf);
  }

  async attempt(calls: readonly RpcCall[]): Promise<RpcAnswer[]> {
    const answers: RpcAnswer[] = [];
    while (answers.length < calls.length) {
      const part = calls.slice(answers.length, answers.length + this.maxBatch);
      const got = part.length === 1 ? await this.attemptOne(part[0]) : await this.tryBatch(part);
      if (got === null) this.maxBatch = Math.max(1, Math.floor(part.length / 2));
      else answers.push(...got);
    }
    return answers;
  }

  private async attemptOne(call: RpcCall | undefined): Promise<RpcAnswer[]> {
    if (call === undefined) return [];
    const id = ++this.lastId;
    return [this.read(await this.post({ jsonrpc: "2.0", id, ...call }), id)];
  }

  /** Null when the endpoint does not take as many at once. */
  private async tryBatch(calls: readonly RpcCall[]): Promise<RpcAnswer[] | null> {
    const first = this.lastId + 1;
    this.lastId += calls.length;
    const answer = await this.post(calls.map((call, i) => ({ jsonrpc: "2.0", id: first + i, ...call })));
    if (!Array.isArray(answer)) return null;
    const byId = new Map(answer.map((one: unknown) => [isObject(one) ? one.id : undefined, one]));
    return calls.map((_, i) => this.read(byId.get(first + i), first + i));
  }

  /** @throws CHAIN_UNREACHABLE for what is no answer to this call */
  private read(answer: unknown, id: number): RpcAnswer {
    return answerOf(answer, id, (fault, code, message, data) => this.failure(fault, code, message, data));
  }

  private async post(body: unknown): Promise<unknown> {
    for (let attempt = 1; ; attempt++) {
      try {
        return await this.postOnce(JSON.stringify(body));
      } catch (error) {
        const { fault, code, message } = (error as DmtpError).cause as RpcFault;
        // The node closed a connection that was kept open just as it was used again.
        if (attempt === 1 && fault === "network" && CLOSED.test(message)) continue;
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
