/** What a route is: the server is built from the list of them, and so is the OpenAPI document. */
import { z } from "zod";

import type { Cid } from "../../protocol/cid.ts";
import type { Fetcher } from "../fetcher.ts";
import type { Follower } from "../follower.ts";
import type { Snapshots } from "../read/snapshot.ts";
import type { StatusReader } from "../read/status.ts";

/** What routes answer from. */
export interface Service {
  readonly snapshots: Snapshots;
  readonly follower: Follower;
  readonly fetcher: Fetcher;
  readonly status: StatusReader;
}

/** A raw block. Its CID says what it is, so it never changes. */
export interface RawBlock {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
}

interface RouteBase {
  /** With parameters in braces, as OpenAPI writes them. */
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  /** Statuses other than 200 that it gives problem documents with; 400 and 500 any route can. */
  readonly problems: readonly (404 | 503)[];
  readonly params: z.ZodObject;
  readonly query: z.ZodObject;
}

export interface JsonRoute extends RouteBase {
  readonly body: z.ZodType;
  answer(service: Service, params: never, query: never): unknown;
}

export interface BlockRoute extends RouteBase {
  readonly body: "block";
  answer(service: Service, params: never, query: never): RawBlock;
}

export type Route = JsonRoute | BlockRoute;

interface Definition<Params extends z.ZodRawShape, Query extends z.ZodRawShape> {
  readonly path: string;
  readonly summary: string;
  readonly description?: string;
  readonly problems?: readonly (404 | 503)[];
  readonly params?: Params;
  readonly query?: Query;
}

type NoParameters = Readonly<Record<string, never>>;
type Parsed<Shape extends z.ZodRawShape> = z.output<z.ZodObject<Shape, z.core.$strict>>;

/** A route whose handler is typed by its parameters and its answer. */
export function jsonRoute<
  Body extends z.ZodType,
  Params extends z.ZodRawShape = NoParameters,
  Query extends z.ZodRawShape = NoParameters,
>(
  definition: Definition<Params, Query> & { readonly body: Body },
  answer: (service: Service, params: Parsed<Params>, query: Parsed<Query>) => z.input<Body>,
): JsonRoute {
  return { ...baseOf(definition), body: definition.body, answer };
}

export function blockRoute<Params extends z.ZodRawShape = NoParameters, Query extends z.ZodRawShape = NoParameters>(
  definition: Definition<Params, Query>,
  answer: (service: Service, params: Parsed<Params>, query: Parsed<Query>) => RawBlock,
): BlockRoute {
  return { ...baseOf(definition), body: "block", answer };
}

function baseOf(definition: Definition<z.ZodRawShape, z.ZodRawShape>): RouteBase {
  const { path, summary, description, problems = [], params = {}, query = {} } = definition;
  return {
    path,
    summary,
    ...(description !== undefined && { description }),
    problems,
    params: z.strictObject(params),
    query: z.strictObject(query),
  };
}
