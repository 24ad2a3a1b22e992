/** JSON-RPC 2.0 over a WebSocket: as over HTTP, and the node says when it has a new block. */
import { DmtpError } from "../../protocol/error.ts";
import { answerOf, isObject } from "./rpc-answer.ts";
import { originOf, unreachable, withoutUrls, type RpcFault } from "./rpc-fault.ts";
import { resultOf, type Rpc, type RpcAnswer, type RpcCall } from "./rpc.ts";

export interface SocketRpcOptions {
  readonly timeoutMs?: number;
  readonly open?: (url: string) => WebSocket;
}

interface Pending {
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: DmtpError) => void;
}

/** How long after a connection was lost a subscriber's is made again. */
const RECONNECT_MS = 1_000;

/** An endpoint by its ws or wss URL. Connects when it is first asked, and again after a connection was lost. @throws CONFIGURATION_INVALID */
export function socketRpc(url: string, options: SocketRpcOptions = {}): Required<Rpc> {
  return new SocketRpc(url, options);
}

class SocketRpc implements Required<Rpc> {
  readonly name: string;
  private readonly url: string;
  private readonly secrets: readonly string[];
  private readonly timeoutMs: number;
  private readonly open: (url: string) => WebSocket;
  private socket: Promise<WebSocket> | null = null;
  private readonly pending = new Map<number, Pending>();
  private readonly listeners = new Set<() => void>();
  private subscription: unknown = null;
  private reconnection: NodeJS.Timeout | null = null;
  private lastId = 0;

  constructor(text: string, { timeoutMs = 30_000, open = (url) => new WebSocket(url) }: SocketRpcOptions) {
    if (!URL.canParse(text) || !/^wss?:$/.test(new URL(text).protocol))
      throw new DmtpError("CONFIGURATION_INVALID", "the RPC URL is not a ws or wss URL");
    const url = new URL(text);
    this.name = originOf(url);
    this.secrets = [...url.pathname.split("/"), ...url.searchParams.values()].filter((part) => part.length >= 6);
    this.url = url.href;
    this.timeoutMs = timeoutMs;
    this.open = open;
  }

  async request(call: RpcCall): Promise<unknown> {
    const id = ++this.lastId;
    const [answer] = await this.exchange([id], { jsonrpc: "2.0", id, ...call });
    return resultOf(this.read(answer, id));
  }

  async batch(calls: readonly RpcCall[]): Promise<unknown[]> {
    return (await this.attempt(calls)).map(resultOf);
  }

  /** One frame: a node answers its calls together, as it does a batch over HTTP. */
  async attempt(calls: readonly RpcCall[]): Promise<RpcAnswer[]> {
    const bodies = calls.map((call) => ({ jsonrpc: "2.0", id: ++this.lastId, ...call }));
    const ids = bodies.map(({ id }) => id);
    const answers = await this.exchange(ids, bodies.length === 1 ? bodies[0] : bodies);
    return ids.map((id, i) => this.read(answers[i], id));
  }

  subscribe(onHead: () => void): () => void {
    this.listeners.add(onHead);
    void this.listen();
    return () => {
      this.listeners.delete(onHead);
      if (this.listeners.size > 0) return;
      clearTimeout(this.reconnection ?? undefined);
      void this.socket?.then((socket) => socket.close()).catch(() => undefined);
    };
  }

  private async exchange(ids: readonly number[], body: unknown): Promise<unknown[]> {
    const answers = ids.map((id) => {
      return new Promise<unknown>((resolve, reject) => this.pending.set(id, { resolve, reject }));
    });
    const timer = setTimeout(() => {
      const error = this.failure("timeout", 0, `no answer within ${this.timeoutMs} ms`);
      for (const id of ids) this.pending.get(id)?.reject(error);
    }, this.timeoutMs);
    const all = Promise.all(answers);
    try {
      // Either may fail first: the connection, or the wait for an answer.
      all.catch(() => undefined);
      const socket = await Promise.race([this.connect(), all.then(() => this.connect())]);
      socket.send(JSON.stringify(body));
      return await all;
    } finally {
      clearTimeout(timer);
      for (const id of ids) this.pending.delete(id);
    }
  }

  private connect(): Promise<WebSocket> {
    this.socket ??= new Promise<WebSocket>((resolve, reject) => {
      const socket = this.open(this.url);
      const lose = (): void => {
        this.socket = null;
        this.subscription = null;
        const error = this.failure("network", 0, "the connection was closed");
        reject(error);
        for (const { reject: fail } of this.pending.values()) fail(error);
        this.reconnect();
      };
      socket.addEventListener("open", () => resolve(socket));
      socket.addEventListener("close", lose);
      socket.addEventListener("error", lose);
      socket.addEventListener("message", ({ data }) => this.receive(data));
    });
    return this.socket;
  }

  private reconnect(): void {
    if (this.listeners.size === 0) return;
    clearTimeout(this.reconnection ?? undefined);
    this.reconnection = setTimeout(() => void this.listen(), RECONNECT_MS);
    this.reconnection.unref();
  }

  /** Subscribes, unless the connection is: what goes wrong shows in the calls, and is tried again. */
  private async listen(): Promise<void> {
    try {
      if (this.subscription !== null) return;
      this.subscription = await this.request({ method: "eth_subscribe", params: ["newHeads"] });
    } catch {
      this.reconnect();
    }
  }

  private receive(data: unknown): void {
    let message: unknown;
    try {
      message = JSON.parse(String(data));
    } catch {
      return;
    }
    for (const one of Array.isArray(message) ? (message as unknown[]) : [message]) {
      if (!isObject(one)) continue;
      if (one.method === "eth_subscription") for (const listener of this.listeners) listener();
      else this.settle(one);
    }
  }

  private settle(answer: Record<string, unknown>): void {
    if (typeof answer.id === "number") {
      this.pending.get(answer.id)?.resolve(answer);
      return;
    }
    // An error without an id is an answer to nothing in particular: to all that was asked.
    const error = this.failure("answer", 0, "the node refused the request");
    for (const { reject } of this.pending.values()) reject(error);
  }

  private read(answer: unknown, id: number): RpcAnswer {
    return answerOf(answer, id, (fault, code, message, data) => this.failure(fault, code, message, data));
  }

  private failure(fault: RpcFault["fault"], code: number, message: string, data?: string): DmtpError {
    let said = withoutUrls(message);
    for (const secret of this.secrets) said = said.replaceAll(secret, "…");
    return unreachable(this.name, { fault, code, message: said, data });
  }
}
