/** A load generator: raw sockets that are kept, one request at a time on each. Run as a worker. */
import { connect, type Socket } from "node:net";
import { parentPort, workerData } from "node:worker_threads";

export interface Load {
  readonly url: string;
  readonly path: string;
  readonly connections: number;
  readonly ms: number;
  /** Requests that are due each second, whether or not the ones before were answered; null: as fast as answers come. */
  readonly perSecond: number | null;
}

export interface LoadResult {
  readonly answers: number;
  readonly ms: number;
  /** From the moment that a request was due, so that a server that stalls can't hide it. */
  readonly p99Ms: number;
}

const { url, path, connections, ms, perSecond } = workerData as Load;
const { hostname, port } = new URL(url);
const request = `GET ${path} HTTP/1.1\r\nHost: ${hostname}\r\n\r\n`;

const latencies: number[] = [];
const idle: ((dueAtMs: number) => void)[] = [];
const due: number[] = [];
const sockets = await Promise.all(Array.from({ length: connections }, open));
const startedAtMs = performance.now();
const isOver = (): boolean => performance.now() - startedAtMs >= ms;

if (perSecond === null) {
  for (const ask of idle.splice(0)) ask(performance.now());
} else {
  let made = 0;
  const timer = setInterval(() => {
    if (isOver()) clearInterval(timer);
    for (; made < ((performance.now() - startedAtMs) * perSecond) / 1_000; made++) {
      const dueAtMs = startedAtMs + (made * 1_000) / perSecond;
      // In turn: the server gives up a connection on which nothing is asked.
      const ask = idle.shift();
      if (ask === undefined) due.push(dueAtMs);
      else ask(dueAtMs);
    }
  }, 1);
}

setTimeout(() => {
  const sorted = latencies.toSorted((a, b) => a - b);
  const result: LoadResult = {
    answers: latencies.length,
    ms: performance.now() - startedAtMs,
    p99Ms: sorted[Math.floor(sorted.length * 0.99)] ?? Number.NaN,
  };
  for (const socket of sockets) socket.destroy();
  parentPort?.postMessage(result);
}, ms);

async function open(): Promise<Socket> {
  const socket = connect(Number(port), hostname);
  await new Promise((resolve) => socket.once("connect", resolve));
  socket.setNoDelay(true);
  let dueAtMs = 0;
  let text = "";
  const ask = (at: number): void => {
    dueAtMs = at;
    socket.write(request);
  };
  socket.setEncoding("latin1").on("data", (part: string) => {
    text += part;
    const head = text.indexOf("\r\n\r\n");
    const length = /\r\ncontent-length: (\d+)/i.exec(head === -1 ? "" : text.slice(0, head))?.[1];
    if (length === undefined || text.length < head + 4 + Number(length)) return;
    if (!text.startsWith("HTTP/1.1 200")) throw new Error(text.slice(0, 200));
    text = "";
    latencies.push(performance.now() - dueAtMs);
    if (perSecond === null) ask(performance.now());
    else {
      const next = due.shift();
      if (next === undefined) idle.push(ask);
      else ask(next);
    }
  });
  idle.push(ask);
  return socket;
}
