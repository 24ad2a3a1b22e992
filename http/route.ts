/** What a route is: a server is built from the list of them, and so is its OpenAPI document. */
import type { ServerResponse } from "node:http";

import { z } from "zod";

import type { AnySchema, Plain } from "../client/api/schema.ts";
import type { Cid } from "../protocol/cid.ts";

/** A raw block. Its CID says what it is, so it never changes. */
export interface RawBlock {
  readonly cid: Cid;
  readonly bytes: Uint8Array;
}

/** Besides 400 and 500, which any route can answer with, and 503, which any route that is not live can. */
type ProblemStatus = 403 | 404 | 409 | 410 | 413 | 415 | 422 | 429 | 503;

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

/** What a request brings: one whole body of a known type. */
export interface Input {
  /** As the header Content-Type has it, without parameters. */
  readonly mediaType: string;
  readonly maxBytes: number;
}

export interface JsonRoute<Service> extends RouteBase {
  readonly kind: "json";
  readonly body: AnySchema;
  answer(service: Service, params: never, query: never): object;
}

export interface BlockRoute<Service> extends RouteBase {
  readonly kind: "block";
  answer(service: Service, params: never, query: never): RawBlock;
}

/** Where events go, and what the client says it has. */
export interface Listener {
  readonly response: ServerResponse;
  readonly lastEventId: string | null;
}

export interface StreamRoute<Service> extends RouteBase {
  readonly kind: "events";
  /** What the events' data look like, by name: their schemas go into the document. */
  readonly events: Readonly<Record<string, AnySchema>>;
  answer(service: Service, query: never, listener: Listener): void;
}

export interface MetricsRoute<Service> extends RouteBase {
  readonly kind: "metrics";
  answer(service: Service): string;
}

/** What a client brought, and from where. */
export interface Delivery {
  readonly bytes: Uint8Array;
  /** The client's address, as the limits of the service count it. */
  readonly client: string;
}

/** What was made of a delivery: the status says whether it was new. */
export interface Taken<Body> {
  readonly status: 200 | 201 | 202;
  readonly body: Body;
}

/** A route that takes something in. Its path names what is brought, so that bringing it twice is bringing it once. */
export interface TakingRoute<Service> extends RouteBase {
  readonly kind: "taking";
  readonly method: "PUT" | "POST";
  readonly input: Input;
  readonly body: AnySchema;
  /** Which of 200, 201 and 202 it answers with. */
  readonly statuses: readonly Taken<unknown>["status"][];
  /** Decides by who asks, before anything that is brought is read. */
  admit(service: Service, client: string): void;
  take(service: Service, params: never, delivery: Delivery): Promise<Taken<object>>;
}

export type Route<Service> =
  JsonRoute<Service> | BlockRoute<Service> | StreamRoute<Service> | MetricsRoute<Service> | TakingRoute<Service>;

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

/** Makes the routes of one service; each handler is typed by its parameters and its answer. */
export class RouteMaker<Service> {
  readonly json = <
    Body extends AnySchema,
    Params extends z.ZodRawShape = NoParameters,
    Query extends z.ZodRawShape = NoParameters,
  >(
    definition: Definition<Params, Query> & { readonly body: Body },
    answer: (service: Service, params: Parsed<Params>, query: Parsed<Query>) => Plain<Body> | Lasting<Plain<Body>>,
  ): JsonRoute<Service> => ({ ...describe(definition), kind: "json", body: definition.body, answer });

  readonly block = <Params extends z.ZodRawShape = NoParameters, Query extends z.ZodRawShape = NoParameters>(
    definition: Definition<Params, Query>,
    answer: (service: Service, params: Parsed<Params>, query: Parsed<Query>) => RawBlock,
  ): BlockRoute<Service> => ({ ...describe(definition), kind: "block", answer });

  readonly stream = <Query extends z.ZodRawShape>(
    definition: Definition<NoParameters, Query> & { readonly events: Readonly<Record<string, AnySchema>> },
    answer: (service: Service, query: Parsed<Query>, listener: Listener) => void,
  ): StreamRoute<Service> => ({ ...describe(definition), kind: "events", events: definition.events, answer });

  readonly metrics = (
    definition: Definition<NoParameters, NoParameters>,
    answer: (service: Service) => string,
  ): MetricsRoute<Service> => ({ ...describe(definition), kind: "metrics", answer });

  readonly taking = <Body extends AnySchema, Params extends z.ZodRawShape = NoParameters>(
    definition: Definition<Params, NoParameters> &
      Pick<TakingRoute<Service>, "method" | "input" | "statuses" | "admit"> & { readonly body: Body },
    take: (service: Service, params: Parsed<Params>, delivery: Delivery) => Promise<Taken<Plain<Body> & object>>,
  ): TakingRoute<Service> => {
    const { method, input, statuses, admit, body } = definition;
    return { ...describe(definition), kind: "taking", method, input, statuses, admit, body, take };
  };
}

function describe(definition: Definition<z.ZodRawShape, z.ZodRawShape>): RouteBase {
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
