/** Routes behind Express: what every service of this project answers with. */
import express, { type ErrorRequestHandler, type Request, type RequestHandler, type Response } from "express";

import { DmtpError } from "../protocol/error.ts";
import { BodyReader } from "./body.ts";
import { ServingBudget, type BudgetOptions } from "./budget.ts";
import { findClient } from "./client.ts";
import { cors } from "./cors.ts";
import { CONTENT_TYPE } from "./metrics/exposition.ts";
import { describeApi, type ApiInfo } from "./openapi.ts";
import { parseParameters } from "./parameters.ts";
import { describeProblem, toError } from "./problem.ts";
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
import { Lasting, type BlockRoute, type JsonRoute, type Route, type TakingRoute } from "./route.ts";

const SECURITY_HEADERS = {
  "X-Content-Type-Options": "nosniff",
  "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
  "Referrer-Policy": "no-referrer",
  "Cross-Origin-Resource-Policy": "same-origin",
  // Until an answer says otherwise: a problem may be gone the next moment.
  "Cache-Control": "no-store",
} as const;

export interface AppOptions {
  /** What the OpenAPI document says of the service. */
  readonly info: ApiInfo;
  /** Called for each request that a defect of the service ended, such as `GET /v1/rooms`. */
  readonly onBug: (request: string, error: DmtpError) => void;
  /** Called when an answer has left: seconds since the request came, by the path of its route. A stream is not told of. */
  readonly onAnswer?: (seconds: number, labels: { readonly route: string; readonly status: string }) => void;
  /** Web pages that may read the answers: origins, or `*`. */
  readonly corsOrigins?: readonly string[];
  /** What all answers together may take. */
  readonly budget?: BudgetOptions;
  /** Proxies of the operator that a request comes through, each of which adds to X-Forwarded-For; none unless given. */
  readonly trustedProxies?: number;
}

/** Paths as Express knows them, for the routes and the document that describes them. */
export function makeApp<Service>(
  routes: readonly Route<Service>[],
  service: Service,
  { info, onBug, onAnswer = () => undefined, corsOrigins = [], budget: limits, trustedProxies = 0 }: AppOptions,
): express.Express {
  const app = express();
  const budget = new ServingBudget(limits);
  app.disable("x-powered-by");
  app.disable("etag");
  app.enable("strict routing");
  app.enable("case sensitive routing");
  app.set("query parser", "simple");
  app.use(measure(onAnswer));
  app.use(secure);
  const takes = routes.filter((route) => route.kind === "taking").map(({ method }) => method);
  app.use(cors(corsOrigins, ["GET", "HEAD", ...new Set(takes)]));
  const taking = { budget, bodies: new BodyReader(), trustedProxies };
  for (const [path, found] of groupByPath(routes)) {
    const methods = found.map((route) =>
      route.kind === "taking" ? [route.method, take(route, service, taking)] : ["GET", answer(route, service, budget)],
    );
    serve(app, path, Object.fromEntries(methods) as Methods);
  }

  let document: string | undefined;
  serve(app, "/openapi.json", {
    GET: (request, response) => {
      document ??= JSON.stringify(describeApi(info, routes));
      return sendDocument({ request, response, budget }, JSON_TYPE, document);
    },
  });

  app.use((request, response) => {
    refuseBody(request, response);
    throw new DmtpError("NOT_FOUND", "there is no such path");
  });
  app.use(answerProblem(onBug));
  return app;
}

/** How long each answer took, by the path that it is of: what a client makes up is all one. */
function measure(onAnswer: NonNullable<AppOptions["onAnswer"]>): RequestHandler {
  return (_, response, next) => {
    const startedAtMs = performance.now();
    response.once("close", () => {
      const { route = "none" } = response.locals as { readonly route?: string };
      // A stream takes as long as the client likes.
      if (response.getHeader("Content-Type") === EVENT_STREAM) return;
      onAnswer((performance.now() - startedAtMs) / 1_000, { route, status: String(response.statusCode) });
    });
    next();
  };
}

const secure: RequestHandler = (_, response, next) => {
  response.set(SECURITY_HEADERS);
  next();
};

/** What answers at one path, by method; HEAD is answered as GET is. */
type Methods = Partial<Record<"GET" | TakingRoute<never>["method"], RequestHandler>>;

/** One layer for each path: every request goes through those before its own. */
function serve(app: express.Express, path: string, methods: Methods): void {
  const allowed = Object.keys(methods).flatMap((method) => (method === "GET" ? ["GET", "HEAD"] : [method]));
  app.all(path.replaceAll(/\{(\w+)\}/g, ":$1"), (request, response, next) => {
    response.locals["route"] = path;
    const method = request.method === "HEAD" ? "GET" : request.method;
    const handler = Object.hasOwn(methods, method) ? methods[method as keyof Methods] : undefined;
    if (handler === undefined) {
      response.set("Allow", allowed.join(", "));
      refuseBody(request, response);
      throw new DmtpError("METHOD_NOT_ALLOWED", `only ${allowed.join(" and ")} are answered here`);
    }
    if (method === "GET" && refuseBody(request, response)) {
      throw new DmtpError("PARAMETER_INVALID", "a request takes no body");
    }
    return handler(request, response, next);
  });
}

/** Nobody should be able to make the service wait for a body that it does not read. @returns whether there is one */
function refuseBody(request: Request, response: Response): boolean {
  if (Number(request.headers["content-length"] ?? 0) === 0 && request.headers["transfer-encoding"] === undefined) {
    return false;
  }
  response.set("Connection", "close");
  return true;
}

function groupByPath<Service>(routes: readonly Route<Service>[]): Map<string, Route<Service>[]> {
  const byPath = new Map<string, Route<Service>[]>();
  for (const route of routes) byPath.set(route.path, [...(byPath.get(route.path) ?? []), route]);
  return byPath;
}

/** Answers a request that brings something. */
function take<Service>(route: TakingRoute<Service>, service: Service, options: TakingOptions): RequestHandler {
  return async (request, response) => {
    response.locals["isTaking"] = true;
    const params = parseParameters(route.params, { ...request.params }) as never;
    parseParameters(route.query, request.query);
    const client = findClient(request, options.trustedProxies);
    options.bodies.check(request, response, route.input, client);
    try {
      route.admit(service, client);
    } catch (error) {
      refuseBody(request, response);
      throw error;
    }
    const delivery = { client, bytes: await options.bodies.read(request, response, route.input, client) };
    const { status, body } = await route.take(service, params, delivery);
    response.status(status);
    await sendLive({ request, response, budget: options.budget }, JSON_TYPE, JSON.stringify(body));
  };
}

interface TakingOptions {
  readonly budget: ServingBudget;
  readonly bodies: BodyReader;
  readonly trustedProxies: number;
}

/** Answers a request that asks for something. */
function answer<Service>(
  route: Exclude<Route<Service>, TakingRoute<Service>>,
  service: Service,
  budget: ServingBudget,
): RequestHandler {
  return async (request, response) => {
    const exchange = { request, response, budget };
    // The route's own schemas made these; its type ties them to its handler.
    const params = parseParameters(route.params, { ...request.params }) as never;
    const query = parseParameters(route.query, request.query) as never;
    if (route.kind === "events") {
      sendEvents(request, response, (listener) => route.answer(service, query, listener));
      return;
    }
    // How the service does is told however much is asked of it.
    if (route.kind === "metrics") {
      await sendLive(exchange, CONTENT_TYPE, route.answer(service));
      return;
    }
    if (route.kind === "json" && route.isLive) {
      await sendLive(exchange, JSON_TYPE, JSON.stringify(route.answer(service, params, query)));
      return;
    }
    // sendAnswer runs without interruption up to its first await, so its bytes are in the budget before the next answer is made.
    const { sending } = await budget.run(() => ({ sending: sendAnswer(exchange, route, service, params, query) }));
    await sending;
  };
}

function sendAnswer<Service>(
  exchange: Exchange,
  route: JsonRoute<Service> | BlockRoute<Service>,
  service: Service,
  params: never,
  query: never,
): Promise<void> {
  // Who waited for a turn may be gone.
  if (exchange.response.closed) return Promise.resolve();
  if (route.kind === "block") return sendBlock(exchange, route.answer(service, params, query));
  const body = route.answer(service, params, query);
  if (body instanceof Lasting) return sendLasting(exchange, body.body as object);
  return sendJson(exchange, body, (query as { readonly include?: boolean }).include === true);
}

function answerProblem(onBug: AppOptions["onBug"]): ErrorRequestHandler {
  return (thrown: unknown, request, response, _next) => {
    const error = toError(thrown);
    if (error.kind === "bug") onBug(`${request.method} ${request.path}`, error);
    const problem = describeProblem(error, response.locals["isTaking"] === true);
    if (problem.status === 503 || problem.status === 429) response.set("Retry-After", String(error.retryAfterS ?? 2));
    // As bytes: Express would add a charset, which RFC 9457's media type does not have.
    response
      .status(problem.status)
      .set("Content-Type", "application/problem+json")
      .send(Buffer.from(JSON.stringify(problem)));
  };
}
