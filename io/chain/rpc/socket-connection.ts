/** One WebSocket to a node, from its opening until it is lost: which answer belongs to which request, and whether it is silent. */
import { isObject, type Failure } from "./rpc-answer.ts";

export interface ConnectionOptions {
  readonly timeoutMs: number;
  readonly failure: Failure;
  /** Called whenever the node says that it has a new block. */
  readonly onHead: () => void;
  /** Called once, when nothing comes over this connection any more. */
  readonly onLost: () => void;
}

interface Pending {
  /** Of the calls of one request. */
  readonly ids: readonly number[];
  /** Answers that came alone, of a request of several calls. */
  readonly answers: unknown[];
  /** @param answer one for one call, a list for several */
  readonly resolve: (answer: unknown) => void;
  readonly reject: (error: Error) => void;
}

export class SocketConnection {
  private readonly socket: WebSocket;
  private readonly options: ConnectionOptions;
  private readonly pending = new Map<number, Pending>();
  private readonly opened: Promise<void>;
  private isOpen = false;
  private isLost = false;
  /** Messages so far: one that sends none while it is waited for is dead, though nothing says so. */
  private messages = 0;
  private failOpening: (error: Error) => void = () => undefined;

  constructor(socket: WebSocket, options: ConnectionOptions) {
    this.socket = socket;
    this.options = options;
    this.opened = new Promise((resolve, reject) => {
      this.failOpening = reject;
      socket.addEventListener("open", () => {
        this.isOpen = true;
        resolve();
      });
    });
    // Whoever waits for it is told; nobody may.
    this.opened.catch(() => undefined);
    const lose = (): void => this.lose(this.isOpen ? "the connection was closed" : "there is no connection");
    socket.addEventListener("close", lose);
    socket.addEventListener("error", lose);
    socket.addEventListener("message", ({ data }) => this.receive(data));
  }

  /** Sends one request and gives what is answered to it, unread. @throws CHAIN_UNREACHABLE */
  async exchange(ids: readonly number[], body: unknown): Promise<unknown> {
    const { timeoutMs, failure } = this.options;
    const before = this.messages;
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<unknown>((resolve, reject) => {
        const pending: Pending = { ids, answers: [], resolve, reject };
        for (const id of ids) this.pending.set(id, pending);
        timer = setTimeout(() => {
          reject(failure("timeout", 0, `no answer within ${timeoutMs} ms`));
          if (this.messages === before) this.lose("the connection was silent");
        }, timeoutMs);
        this.opened.then(() => this.socket.send(JSON.stringify(body))).catch(reject);
      });
    } finally {
      clearTimeout(timer);
      for (const id of ids) this.pending.delete(id);
    }
  }

  close(): void {
    this.lose("the connection was closed");
  }

  /** Once: a socket that fails is closed after that, and says both. */
  private lose(reason: string): void {
    if (this.isLost) return;
    this.isLost = true;
    const error = this.options.failure("network", 0, reason);
    this.failOpening(error);
    for (const { reject } of this.pending.values()) reject(error);
    // One that is half open would stay so for ever.
    this.socket.close();
    this.options.onLost();
  }

  private receive(data: unknown): void {
    if (this.isLost) return;
    this.messages += 1;
    let message: unknown;
    try {
      message = JSON.parse(String(data));
    } catch {
      return;
    }
    if (Array.isArray(message)) this.settleBatch(message);
    else if (isObject(message)) this.settle(message);
  }

  /** A list answers one request, with whatever it leaves out. */
  private settleBatch(answers: readonly unknown[]): void {
    for (const answer of answers) {
      if (!isObject(answer)) continue;
      if (answer.method === "eth_subscription") this.options.onHead();
      const pending = typeof answer.id === "number" ? this.pending.get(answer.id) : undefined;
      if (pending === undefined) continue;
      pending.resolve(pending.ids.length === 1 ? answer : answers);
    }
  }

  private settle(answer: Record<string, unknown>): void {
    if (answer.method === "eth_subscription") {
      this.options.onHead();
      return;
    }
    if (typeof answer.id !== "number") {
      this.refuse(answer);
      return;
    }
    const pending = this.pending.get(answer.id);
    if (pending === undefined) return;
    if (pending.ids.length === 1) pending.resolve(answer);
    else {
      pending.answers.push(answer);
      if (pending.answers.length === pending.ids.length) pending.resolve(pending.answers);
    }
  }

  /** An error without an id is an answer to nothing in particular: to the requests of several calls, or else to all. */
  private refuse(answer: Record<string, unknown>): void {
    const requests = new Set(this.pending.values());
    const batches = [...requests].filter(({ ids }) => ids.length > 1);
    for (const { resolve } of batches) resolve(answer);
    if (batches.length > 0) return;
    const error = this.options.failure("answer", 0, "the node refused the request");
    for (const { reject } of requests) reject(error);
  }
}
