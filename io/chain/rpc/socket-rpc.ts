/** JSON-RPC 2.0 over a WebSocket: as over HTTP, and the node says when it has a new block. */
import { DmtpError } from "../../../protocol/error.ts";
import { CallBatches, type BatchOptions } from "./call-batches.ts";
import { answerOf, readBatch, type Failure } from "./rpc-answer.ts";
import { originOf, unreachable, withoutUrls, type RpcFault } from "./rpc-fault.ts";
import { resultOf, type Rpc, type RpcAnswer, type RpcCall } from "./rpc.ts";
import { SocketConnection } from "./socket-connection.ts";

export interface SocketRpcOptions extends BatchOptions {
  readonly timeoutMs?: number;
  readonly open?: (url: string) => WebSocket;
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
  private readonly batches: CallBatches;
  private readonly listeners = new Set<() => void>();
  private connection: SocketConnection | null = null;
  /** The connection that new blocks are told on, or are asked to be told on. */
  private subscribed: SocketConnection | null = null;
  private reconnection: NodeJS.Timeout | null = null;
  private lastId = 0;

  constructor(text: string, options: SocketRpcOptions) {
    if (!URL.canParse(text) || !/^wss?:$/.test(new URL(text).protocol))
      throw new DmtpError("CONFIGURATION_INVALID", "the RPC URL is not a ws or wss URL");
    const url = new URL(text);
    this.name = originOf(url);
    this.secrets = [...url.pathname.split("/"), ...url.searchParams.values()].filter((part) => part.length >= 6);
    this.url = url.href;
    this.timeoutMs = options.timeoutMs ?? 30_000;
    this.open = options.open ?? ((url) => new WebSocket(url));
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

  subscribe(onHead: () => void): () => void {
    this.listeners.add(onHead);
    void this.listen();
    return () => {
      this.listeners.delete(onHead);
      if (this.listeners.size > 0) return;
      clearTimeout(this.reconnection ?? undefined);
      this.connection?.close();
    };
  }

  /** One frame: a node answers its calls together, as it does a batch over HTTP. */
  private async send(calls: readonly RpcCall[]): Promise<RpcAnswer[]> {
    const bodies = calls.map((call) => ({ jsonrpc: "2.0", id: ++this.lastId, ...call }));
    const ids = bodies.map(({ id }) => id);
    const [only] = bodies;
    const failure: Failure = (...fault) => this.failure(...fault);
    const answer = await this.connect().exchange(ids, bodies.length === 1 ? only : bodies);
    return bodies.length === 1 && only !== undefined
      ? [answerOf(answer, only.id, failure)]
      : readBatch(answer, ids, failure);
  }

  private connect(): SocketConnection {
    if (this.connection !== null) return this.connection;
    const connection: SocketConnection = new SocketConnection(this.open(this.url), {
      timeoutMs: this.timeoutMs,
      failure: (...fault) => this.failure(...fault),
      onHead: () => {
        for (const listener of this.listeners) listener();
      },
      onLost: () => {
        // Only itself: another may be in its place by now, and what it carries goes on.
        if (this.subscribed === connection) this.subscribed = null;
        if (this.connection !== connection) return;
        this.connection = null;
        this.reconnect();
      },
    });
    this.connection = connection;
    return connection;
  }

  private reconnect(): void {
    if (this.listeners.size === 0) return;
    clearTimeout(this.reconnection ?? undefined);
    this.reconnection = setTimeout(() => void this.listen(), RECONNECT_MS);
    this.reconnection.unref();
  }

  /** Subscribes, unless the connection is: what goes wrong shows in the calls, and is tried again. */
  private async listen(): Promise<void> {
    let connection: SocketConnection | null = null;
    try {
      connection = this.connect();
      if (this.subscribed === connection) return;
      this.subscribed = connection;
      await this.request({ method: "eth_subscribe", params: ["newHeads"] });
    } catch {
      if (this.subscribed === connection) this.subscribed = null;
      this.reconnect();
    }
  }

  private failure(fault: RpcFault["fault"], code: number, message: string, data?: string): DmtpError {
    let said = withoutUrls(message);
    for (const secret of this.secrets) said = said.replaceAll(secret, "…");
    return unreachable(this.name, { fault, code, message: said, data });
  }
}
