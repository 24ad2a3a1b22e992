/** HTTP: the socket, with limits on what a client can make the service hold. */
import { createServer, type RequestListener, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";

import { DmtpError } from "../protocol/error.ts";

/** A request is one line and a few headers, and is answered in milliseconds. */
const LIMITS = {
  maxHeaderSize: 16_384,
  headersTimeout: 3_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
} as const;
const MAX_HEADERS = 64;
const MAX_CONNECTIONS = 4_096;
/** A connection on which nothing moves: one that does not read what it asked for, for example. */
const IDLE_MS = 60_000;
/** Requests that a connection may send ahead. */
const MAX_PIPELINED = 16;
/** How long answers that are under way may take when the service stops. */
const DRAIN_MS = 500;

/** @throws ADDRESS_IN_USE, CONFIGURATION_INVALID */
export async function listen(
  listener: RequestListener,
  host: string,
  port: number,
): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(LIMITS, inOrder(listener));
  server.maxHeadersCount = MAX_HEADERS;
  server.timeout = IDLE_MS;
  server.maxConnections = MAX_CONNECTIONS;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(port, host, resolve);
  }).catch((cause: unknown) => {
    const { code } = cause as { code?: unknown };
    if (code === "EADDRINUSE") throw new DmtpError("ADDRESS_IN_USE", `port ${port} of ${host} is taken`, { cause });
    throw new DmtpError("CONFIGURATION_INVALID", `the service cannot listen at ${host}, port ${port}`, { cause });
  });
  const address = server.address() as AddressInfo;
  const name = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return { url: `http://${name}:${address.port}`, close: () => close(server) };
}

/**
 * Requests of one connection one after the other, the next when the answer before it has left: a client that sends many at once and
 * reads none would otherwise have all of their answers made. One that sends far ahead is cut off; no browser does.
 */
export function inOrder(listener: RequestListener): RequestListener {
  const lines = new WeakMap<Socket, (() => void)[]>();
  return (request, response) => {
    const { socket } = request;
    const answer = (): void => {
      response.once("close", () => {
        const next = lines.get(socket)?.shift();
        if (next === undefined || socket.destroyed) lines.delete(socket);
        else next();
      });
      listener(request, response);
    };
    const line = lines.get(socket);
    if (line === undefined) {
      lines.set(socket, []);
      answer();
    } else if (line.length < MAX_PIPELINED) line.push(answer);
    else socket.destroy();
  };
}

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
  await closed;
  clearTimeout(timer);
}
