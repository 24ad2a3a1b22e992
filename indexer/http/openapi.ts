/** The OpenAPI 3.1 document, made of the routes, and of the schemas that clients and tests hold the answers against. */
import { z } from "zod";

import { findDescription } from "../../client/api/descriptions.ts";
import { eventSchemas } from "../../client/api/events.ts";
import type { JsonSchema } from "../../client/api/schema.ts";
import { problemSchema } from "../../client/api/service.ts";
import type { Route } from "./route.ts";

type Json = Record<string, unknown>;

const PROBLEMS: Readonly<Record<number, string>> = {
  400: "A parameter is invalid",
  404: "There is nothing by that name",
  410: "A reorg took back what the cursor rests on; the list has to be read from its start",
  500: "A defect of the service",
  503: "Not now; asking again can help",
};

export function openApiOf(routes: readonly Route[]): Json {
  const components: Json = {};
  const paths: Json = {};
  for (const route of routes) paths[route.path] = { get: operationOf(route, components) };
  return {
    openapi: "3.1.0",
    info: {
      title: "DMTP indexer",
      version: "1",
      description:
        "Verified histories of DMTP rooms. Everything served can be rebuilt and checked from one RPC endpoint and IPFS; this " +
        "service is a convenience that nobody has to trust. Errors are RFC 9457 problem documents.",
    },
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

function operationOf(route: Route, components: Json): Json {
  const parameters = [...parametersOf(route.params, "path"), ...parametersOf(route.query, "query")];
  const answer = contentOf(route, components);
  const problem = { "application/problem+json": { schema: schemaOf(problemSchema, components) } };
  // Whatever takes memory or time may have to wait, and how the service does is always told.
  const statuses = [400, ...new Set([...route.problems, ...(route.isLive ? [] : [503])]), 500].sort((a, b) => a - b);
  return {
    operationId: operationIdOf(route.path),
    summary: route.summary,
    ...(route.description !== undefined && { description: route.description }),
    ...(parameters.length > 0 && { parameters }),
    responses: {
      200: { description: "OK", content: answer },
      ...Object.fromEntries(statuses.map((status) => [status, { description: PROBLEMS[status], content: problem }])),
    },
  };
}

function contentOf({ body }: Route, components: Json): Json {
  if (body === "block") {
    const type = "application/vnd.ipld.raw";
    return { [type]: { schema: { type: "string", contentMediaType: type } } };
  }
  if (body === "events") {
    // OpenAPI 3.1 has no words for a stream: its events' data are among the schemas, by name.
    for (const schema of Object.values(eventSchemas)) schemaOf(schema, components);
    return { "text/event-stream": { schema: { type: "string" } } };
  }
  if (body === "metrics") return { "text/plain": { schema: { type: "string" } } };
  return { "application/json": { schema: schemaOf(body, components) } };
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

/** /v1/rooms/{room}/messages → getV1RoomsRoomMessages */
function operationIdOf(path: string): string {
  const words = path.match(/[a-z0-9]+/gi) ?? [];
  return ["get", ...words.map((word) => word.charAt(0).toUpperCase() + word.slice(1))].join("");
}
