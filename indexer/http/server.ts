/** HTTP: the routes behind Express, with limits on what a client can make the service do. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";

import express, { type ErrorRequestHandler, type Request, type RequestHandler, type Response } from "express";

import { DmtpError } from "../../protocol/error.ts";
import type { Log } from "../log.ts";
import { openApiOf } from "./openapi.ts";
import { parseParameters } from "./parameters.ts";
import { errorOf, problemOf } from "./problem.ts";
import type { RawBlock, Route, Service } from "./route.ts";

/** A request is one line and a few headers, and is answered in milliseconds. */
const LIMITS = {
  maxHeaderSize: 16_384,
  headersTimeout: 3_000,
  requestTimeout: 10_000,
  keepAliveTimeout: 5_000,
  connectionsCheckingInterval: 1_000,
} as const;
const MAX_CONNECTIONS = 4_096;
/** How long answers that are under way may take when the service stops. */
const DRAIN_MS = 500;

const SECURITY_HEADERS = {
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  "Cache-Control": "no-cache",
} as const;

/** Paths as Express knows them, for the routes and the document that describes them. */
export function appOf(routes: readonly Route[], service: Service, log: Log): express.Express {
  const app = express();
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("strict routing");
  app.enable("case sensitive routing");
  app.set("query parser", "simple");
  app.use(guard);
  for (const route of routes) serve(app, route.path, handlerOf(route, service));

  let document: string | undefined;
  serve(app, "/openapi.json", (_, response) => {
    document ??= JSON.stringify(openApiOf(routes));
    response.type("application/json").send(document);
  });

  app.use(() => {
    throw new DmtpError("NOT_FOUND", "there is no such path");
  });
  app.use(problemHandler(log));
  return app;
}

/** @throws ADDRESS_IN_USE, CONFIGURATION_INVALID */
export async function listen(
  app: express.Express,
  host: string,
  port: number,
): Promise<{ url: string; close(): Promise<void> }> {
  const server = createServer(LIMITS, app);
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

async function close(server: Server): Promise<void> {
  const closed = new Promise<void>((resolve) => server.close(() => resolve()));
  const timer = setTimeout(() => server.closeAllConnections(), DRAIN_MS);
  await closed;
  clearTimeout(timer);
}

const guard: RequestHandler = (request, response, next) => {
  response.set(SECURITY_HEADERS);
  if (Number(request.headers["content-length"] ?? 0) === 0 && request.headers["transfer-encoding"] === undefined) {
    next();
    return;
  }
  // Nothing here reads a body, and nobody should be able to make the service wait for one.
  response.set("Connection", "close");
  throw new DmtpError("PARAMETER_INVALID", "a request takes no body");
};

function serve(app: express.Express, path: string, handler: RequestHandler): void {
  const expressPath = path.replaceAll(/\{(\w+)\}/g, ":$1");
  app.get(expressPath, handler);
  app.all(expressPath, (_, response) => {
    response.set("Allow", "GET, HEAD");
    throw new DmtpError("METHOD_NOT_ALLOWED", "only GET and HEAD are answered here");
  });
}

function handlerOf(route: Route, service: Service): RequestHandler {
  return (request, response) => {
    // The route's own schemas made these; its type ties them to its handler.
    const params = parseParameters(route.params, { ...request.params }) as never;
    const query = parseParameters(route.query, request.query) as never;
    if (route.body === "block") sendBlock(request, response, route.answer(service, params, query));
    else response.json(route.answer(service, params, query));
  };
}

function sendBlock(request: Request, response: Response, { cid, bytes }: RawBlock): void {
  response.set({
    "Content-Type": "application/vnd.ipld.raw",
    "Content-Disposition": `attachment; filename="${cid}.bin"`,
    "Cache-Control": "public, max-age=31536000, immutable",
    ETag: `"${cid}"`,
  });
  if (request.headers["if-none-match"]?.includes(`"${cid}"`) === true) response.status(304).end();
  else response.send(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

function problemHandler(log: Log): ErrorRequestHandler {
  return (thrown: unknown, request, response, _next) => {
    const error = errorOf(thrown);
    if (error.kind === "bug") {
      const { cause } = error;
      log(
        `error[${error.code}]: ${request.method} ${request.path}: ${cause instanceof Error ? (cause.stack ?? "") : error.message}`,
      );
    }
    const problem = problemOf(error);
    if (error.kind === "unavailable") response.set("Retry-After", "2");
    // As bytes: Express would add a charset, which RFC 9457's media type does not have.
    response
      .status(problem.status)
      .set("Content-Type", "application/problem+json")
      .send(Buffer.from(JSON.stringify(problem)));
  };
}
