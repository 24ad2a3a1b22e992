/** The routes behind Express. */
import express, { type ErrorRequestHandler, type RequestHandler } from "express";

import { DmtpError } from "../../protocol/error.ts";
import { logStack, type Log } from "../log.ts";
import { CONTENT_TYPE } from "../metrics/exposition.ts";
import type { Metrics } from "../metrics/metrics.ts";
import { ServingBudget, type BudgetOptions } from "./budget.ts";
import { cors } from "./cors.ts";
import { openApiOf } from "./openapi.ts";
import { parseParameters } from "./parameters.ts";
import { errorOf, problemOf } from "./problem.ts";
import {
  EVENT_STREAM,
  JSON_TYPE,
  sendBlock,
  sendDocument,
  sendEvents,
  sendJson,
  sendLasting,
  sendLive,
  type Exchange,
} from "./reply.ts";
import { Lasting, type BlockRoute, type JsonRoute, type Route, type Service } from "./route.ts";

const SECURITY_HEADERS = {
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  // Until an answer says otherwise: a problem may be gone the next moment.
  "Cache-Control": "no-store",
} as const;

export interface AppOptions {
  readonly log: Log;
  /** Web pages that may read the answers: origins, or `*`. */
  readonly corsOrigins?: readonly string[];
  /** What all answers together may take. */
  readonly budget?: BudgetOptions;
}

/** Paths as Express knows them, for the routes and the document that describes them. */
export function appOf(routes: readonly Route[], service: Service, options: AppOptions): express.Express {
  const app = express();
  const budget = new ServingBudget(options.budget);
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("strict routing");
  app.enable("case sensitive routing");
  app.set("query parser", "simple");
  app.use(timed(service.metrics));
  app.use(guard);
  app.use(cors(options.corsOrigins ?? []));
  for (const route of routes) serve(app, route.path, handlerOf(route, service, budget));

  let document: string | undefined;
  serve(app, "/openapi.json", (request, response) => {
    document ??= JSON.stringify(openApiOf(routes));
    return sendDocument({ request, response, budget }, JSON_TYPE, document);
  });

  app.use(() => {
    throw new DmtpError("NOT_FOUND", "there is no such path");
  });
  app.use(problemHandler(options.log));
  return app;
}

/** How long each answer took, by the path that it is of: what a client makes up is all one. */
function timed({ latency }: Metrics): RequestHandler {
  return (_, response, next) => {
    const startedAtMs = performance.now();
    response.once("close", () => {
      const { route = "none" } = response.locals as { readonly route?: string };
      // A stream takes as long as the client likes.
      if (response.getHeader("Content-Type") === EVENT_STREAM) return;
      latency.observe((performance.now() - startedAtMs) / 1_000, { route, status: String(response.statusCode) });
    });
    next();
  };
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

/** One layer for each path: every request goes through those before its own. */
function serve(app: express.Express, path: string, handler: RequestHandler): void {
  app.all(path.replaceAll(/\{(\w+)\}/g, ":$1"), (request, response, next) => {
    response.locals["route"] = path;
    if (request.method === "GET" || request.method === "HEAD") return handler(request, response, next);
    response.set("Allow", "GET, HEAD");
    throw new DmtpError("METHOD_NOT_ALLOWED", "only GET and HEAD are answered here");
  });
}

function handlerOf(route: Route, service: Service, budget: ServingBudget): RequestHandler {
  return async (request, response) => {
    const exchange = { request, response, budget };
    // The route's own schemas made these; its type ties them to its handler.
    const params = parseParameters(route.params, { ...request.params }) as never;
    const query = parseParameters(route.query, request.query) as never;
    if (route.body === "events") {
      sendEvents(request, response, (listener) => route.answer(service, query, listener));
      return;
    }
    // How the service does is told however much is asked of it.
    if (route.body === "metrics") {
      await sendLive(exchange, CONTENT_TYPE, route.answer(service));
      return;
    }
    if (route.body !== "block" && route.isLive) {
      await sendLive(exchange, JSON_TYPE, JSON.stringify(route.answer(service, params, query)));
      return;
    }
    // Whatever is sent is counted before another answer is made: each of these is in order up to its first wait.
    const { sending } = await budget.run(() => ({ sending: sendAnswer(exchange, route, service, params, query) }));
    await sending;
  };
}

function sendAnswer(
  exchange: Exchange,
  route: JsonRoute | BlockRoute,
  service: Service,
  params: never,
  query: never,
): Promise<void> {
  // Who waited for a turn may be gone.
  if (exchange.response.closed) return Promise.resolve();
  if (route.body === "block") return sendBlock(exchange, route.answer(service, params, query));
  const body = route.answer(service, params, query);
  if (body instanceof Lasting) return sendLasting(exchange, body.body as object);
  return sendJson(exchange, body, (query as { readonly include?: boolean }).include === true);
}

function problemHandler(log: Log): ErrorRequestHandler {
  return (thrown: unknown, request, response, _next) => {
    const error = errorOf(thrown);
    if (error.kind === "bug") {
      log(`error[${error.code}]: ${request.method} ${request.path}: ${error.message}`);
      if (error.cause !== undefined) logStack(log, error.cause);
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
