/** The OpenAPI 3.1 document, made of the routes, and of the schemas that clients and tests hold the answers against. */
import { z } from "zod";

import { findDescription } from "../client/api/descriptions.ts";
import type { JsonSchema } from "../client/api/schema.ts";
import { problemSchema } from "../client/api/service.ts";
import type { Route } from "./route.ts";

type Json = Record<string, unknown>;

const TAKEN = { 200: "OK", 201: "Taken", 202: "Accepted; what becomes of it can be followed" } as const;
const PROBLEMS: Readonly<Record<number, string>> = {
  400: "A parameter, or what was brought, is invalid",
  403: "Refused by the operator's policy",
  404: "There is nothing by that name",
  409: "Right in itself, and it does not fit what is here: it has to be made again",
  410: "A reorg took back what the cursor rests on; the list has to be read from its start",
  413: "Larger than anything that is taken here",
  415: "Not of the type that is taken here",
  422: "What was brought breaks the protocol: it will never be taken",
  429: "Too much in a short time; Retry-After says when",
  500: "A defect of the service",
  503: "Not now; asking again can help",
};

/** What a document says of its service. */
export interface ApiInfo {
  readonly title: string;
  readonly description: string;
}

export function describeApi<Service>(info: ApiInfo, routes: readonly Route<Service>[]): Json {
  const components: Json = {};
  const paths: Record<string, Json> = {};
  for (const route of routes) {
    const method = route.kind === "taking" ? route.method.toLowerCase() : "get";
    paths[route.path] = { ...paths[route.path], [method]: describeOperation(route, method, components) };
  }
  return {
    openapi: "3.1.0",
    info: { ...info, version: "1" },
    paths: {
      ...paths,
      "/openapi.json": {
        get: {
          operationId: "getOpenapiJson",
          summary: "This document",
          responses: { 200: { description: "OK", content: { "application/json": { schema: { type: "object" } } } } },
        },
      },
    },
    components: { schemas: components },
  };
}

function describeOperation<Service>(route: Route<Service>, method: string, components: Json): Json {
  const parameters = [...parametersOf(route.params, "path"), ...parametersOf(route.query, "query")];
  const answer = contentOf(route, components);
  const problem = { "application/problem+json": { schema: schemaOf(problemSchema, components) } };
  // Whatever takes memory or time may have to wait, and how the service does is always told.
  const problems = [400, ...new Set([...route.problems, ...(route.isLive ? [] : [503])]), 500].sort((a, b) => a - b);
  const statuses = route.kind === "taking" ? route.statuses : [200 as const];
  return {
    operationId: nameOperation(method, route.path),
    summary: route.summary,
    ...(route.description !== undefined && { description: route.description }),
    ...(parameters.length > 0 && { parameters }),
    ...(route.kind === "taking" && {
      requestBody: {
        required: true,
        content: {
          [route.input.mediaType]: {
            schema: { type: "string", contentMediaType: route.input.mediaType, maxLength: route.input.maxBytes },
          },
        },
      },
    }),
    responses: {
      ...Object.fromEntries(statuses.map((status) => [status, { description: TAKEN[status], content: answer }])),
      ...Object.fromEntries(problems.map((status) => [status, { description: PROBLEMS[status], content: problem }])),
    },
  };
}

function contentOf<Service>(route: Route<Service>, components: Json): Json {
  switch (route.kind) {
    case "block": {
      const type = "application/vnd.ipld.raw";
      return { [type]: { schema: { type: "string", contentMediaType: type } } };
    }
    case "events":
      // OpenAPI 3.1 has no words for a stream: its events' data are among the schemas, by name.
      for (const schema of Object.values(route.events)) schemaOf(schema, components);
      return { "text/event-stream": { schema: { type: "string" } } };
    case "metrics":
      return { "text/plain": { schema: { type: "string" } } };
    case "json":
    case "taking":
      return { "application/json": { schema: schemaOf(route.body, components) } };
  }
}

function parametersOf(schema: z.ZodObject, place: "path" | "query"): Json[] {
  const { properties = {}, required = [] } = z.toJSONSchema(schema, { io: "input" });
  return Object.entries(properties).map(([name, property]) => {
    const { description, ...rest } = property as Json;
    return {
      name,
      in: place,
      required: required.includes(name),
      ...(description !== undefined && { description }),
      schema: rest,
    };
  });
}

/**
 * Schemas with an id become components, and are referred to.
 * @param path the component that the schema is in, and the members that lead to it
 */
function schemaOf(schema: JsonSchema, components: Json, path: readonly string[] = []): Json {
  const description = findDescription(path);
  const described = path.length > 1 && description !== undefined ? { description } : {};
  if (schema.$id === undefined) return { ...described, ...jsonOf(schema, components, path) };
  const json = jsonOf(schema, components, [schema.$id]);
  components[schema.$id] = { description: findDescription([schema.$id]), ...json };
  // A description beside a reference, as OpenAPI 3.1 has it.
  return { ...described, $ref: `#/components/schemas/${schema.$id}` };
}

function jsonOf(schema: JsonSchema, components: Json, path: readonly string[]): Json {
  const { $id: _, items, properties, additionalProperties: others, anyOf, ...rest } = schema;
  const partOf = (part: JsonSchema): Json => {
    // What is said of a list or of alternatives is said of all of it, not of each part once more.
    const { description: _said, ...json } = schemaOf(part, components, path);
    return json;
  };
  return {
    ...rest,
    ...(items !== undefined && { items: partOf(items) }),
    ...(properties !== undefined && {
      properties: Object.fromEntries(
        Object.entries(properties).map(([name, member]) => [name, schemaOf(member, components, [...path, name])]),
      ),
    }),
    ...(others !== undefined && { additionalProperties: others === false ? others : partOf(others) }),
    ...(anyOf !== undefined && { anyOf: anyOf.map(partOf) }),
  };
}

/** GET /v1/rooms/{room}/messages → getV1RoomsRoomMessages */
function nameOperation(method: string, path: string): string {
  const words = path.match(/[a-z0-9]+/gi) ?? [];
  return [method, ...words.map((word) => word.charAt(0).toUpperCase() + word.slice(1))].join("");
}
