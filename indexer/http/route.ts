/** What a route is: the server is built from the list of them, and so is the OpenAPI document. */
import type { ServerResponse } from "node:http";

import { z } from "zod";

import type { AnySchema, Plain } from "../../client/api/schema.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { Fetcher } from "../fetcher.ts";
import type { Follower } from "../follower.ts";
import type { Streams } from "../live/streams.ts";
import type { Metrics } from "../metrics/metrics.ts";
import type { Snapshots } from "../read/snapshot.ts";
import type { StatusReader, WriterHealth } from "../read/status.ts";

/** What routes answer from. */
export interface Service {
  readonly snapshots: Snapshots;
  /** Only to be asked how the writer is doing. */
  readonly history: WriterHealth;
  readonly follower: Follower;
  readonly fetcher: Fetcher;
  readonly status: StatusReader;
  readonly streams: Streams;
  readonly metrics: Metrics;
}

/** A raw block. Its CID says what it is, so it never changes. */
export interface RawBlock {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
}

/** Besides 400 and 500, which any route can answer with. */
type ProblemStatus = 404 | 410 | 503;

/** An answer that can never change again: about what is final, and has nothing left to be decided. */
export class Lasting<Body extends object> {
  readonly body: Body;

  constructor(body: Body) {
    this.body = body;
  }
}

interface RouteBase {
  /** With parameters in braces, as OpenAPI writes them. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  /** Statuses that it gives problem documents with. */
  readonly problems: readonly ProblemStatus[];
  /** Whether it tells of this very moment, so that no copy of its answer is worth keeping. */
  readonly isLive: boolean;
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
}

export interface JsonRoute extends RouteBase {
  readonly body: AnySchema;
  answer(service: Service, params: never, query: never): object;
}

export interface BlockRoute extends RouteBase {
  readonly body: "block";
  answer(service: Service, params: never, query: never): RawBlock;
}

/** Where events go, and what the client says it has. */
export interface Listener {
  readonly response: ServerResponse;
  readonly lastEventId: string | null;
}

export interface StreamRoute extends RouteBase {
  readonly body: "events";
  answer(service: Service, query: never, listener: Listener): void;
}

export interface MetricsRoute extends RouteBase {
  readonly body: "metrics";
  answer(service: Service): string;
}

export type Route = JsonRoute | BlockRoute | StreamRoute | MetricsRoute;

interface Definition<Params extends z.ZodRawShape, Query extends z.ZodRawShape> {
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  readonly problems?: readonly ProblemStatus[];
  readonly isLive?: boolean;
  readonly params?: Params;
  readonly query?: Query;
}

type NoParameters = Readonly<Record<string, never>>;
type Parsed<Shape extends z.ZodRawShape> = z.output<z.ZodObject<Shape, z.core.$strict>>;

/** A route whose handler is typed by its parameters and its answer. */
export function jsonRoute<
  Body extends AnySchema,
  Params extends z.ZodRawShape = NoParameters,
  Query extends z.ZodRawShape = NoParameters,
>(
  definition: Definition<Params, Query> & { readonly body: Body },
  answer: (service: Service, params: Parsed<Params>, query: Parsed<Query>) => Plain<Body> | Lasting<Plain<Body>>,
): JsonRoute {
  return { ...baseOf(definition), body: definition.body, answer };
}

export function blockRoute<Params extends z.ZodRawShape = NoParameters, Query extends z.ZodRawShape = NoParameters>(
  definition: Definition<Params, Query>,
  answer: (service: Service, params: Parsed<Params>, query: Parsed<Query>) => RawBlock,
): BlockRoute {
  return { ...baseOf(definition), body: "block", answer };
}

export function streamRoute<Query extends z.ZodRawShape>(
  definition: Definition<NoParameters, Query>,
  answer: (service: Service, query: Parsed<Query>, listener: Listener) => void,
): StreamRoute {
  return { ...baseOf(definition), body: "events", answer };
}

export function metricsRoute(definition: Definition<NoParameters, NoParameters>): MetricsRoute {
  return { ...baseOf(definition), body: "metrics", answer: ({ metrics }) => metrics.read() };
}

function baseOf(definition: Definition<z.ZodRawShape, z.ZodRawShape>): RouteBase {
  const { path, summary, description, problems = [], isLive = false, params = {}, query = {} } = definition;
  return {
    path,
    summary,
    ...(description !== undefined && { description }),
    problems,
    isLive,
    params: z.strictObject(params),
    query: z.strictObject(query),
  };
}
