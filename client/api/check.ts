/** Holds JSON values against schemas. */
import { DmtpError } from "../../protocol/error.ts";
import type { AnySchema, JsonSchema, Value } from "./schema.ts";

/** Compiled once: a page of messages asks for the same few of them thousands of times. */
const patterns = new Map<string, RegExp>();

/**
 * The value, as its schema describes it. Members that the schema does not know are left alone: a newer indexer may have more.
 * @throws ANSWER_MALFORMED
 */
export function parseAnswer<S extends AnySchema>(schema: S, value: unknown, name: string): Value<S> {
  const mismatch = findMismatch(schema, value, name);
  if (mismatch === null) return value as Value<S>;
  throw new DmtpError("ANSWER_MALFORMED", `the indexer's answer is not as documented at ${mismatch}`);
}

/**
 * Where a value is not as its schema describes it, as a path of member names; null when it is.
 * @param path the name of the value itself
 * @param isStrict whether members that the schema does not know are a mismatch as well
 */
export function findMismatch(schema: JsonSchema, value: unknown, path: string, isStrict = false): string | null {
  if (schema.anyOf !== undefined) {
    const option = schema.anyOf.find((candidate) => isMeant(candidate, value));
    return option === undefined ? path : findMismatch(option, value, path, isStrict);
  }
  switch (schema.type) {
    case "null":
      return value === null ? null : path;
    case "boolean":
      return typeof value === "boolean" ? null : path;
    case "string":
      return typeof value === "string" && isText(schema, value) ? null : path;
    case "number":
    case "integer":
      return typeof value === "number" && isNumber(schema, value) ? null : path;
    case "array":
      if (!Array.isArray(value) || value.length > (schema.maxItems ?? Infinity)) return path;
      return findFirst(value, (item, i) => findMismatch(schema.items ?? {}, item, `${path}.${i}`, isStrict));
    case "object":
      return findInObject(schema, value, path, isStrict);
    default:
      return null;
  }
}

/**
 * Whether this is the alternative that the value has to be held against. Alternatives are told apart by null, and by members that
 * can have one value only, such as `status` and `kind`.
 */
function isMeant({ type, anyOf, properties = {} }: JsonSchema, value: unknown): boolean {
  if (anyOf !== undefined) return anyOf.some((option) => isMeant(option, value));
  if (type === "null" || value === null) return type === "null" && value === null;
  return Object.entries(properties).every(
    ([name, { enum: choices }]) =>
      choices?.length !== 1 || (value as Readonly<Record<string, unknown>> | undefined)?.[name] === choices[0],
  );
}

function isText(schema: JsonSchema, value: string): boolean {
  if (schema.enum !== undefined) return schema.enum.includes(value);
  if (schema.pattern === undefined) return true;
  const pattern = patterns.get(schema.pattern) ?? new RegExp(schema.pattern);
  patterns.set(schema.pattern, pattern);
  return pattern.test(value);
}

function isNumber({ type, minimum = -Infinity, maximum = Infinity }: JsonSchema, value: number): boolean {
  return (type === "number" || Number.isSafeInteger(value)) && value >= minimum && value <= maximum;
}

function findInObject(schema: JsonSchema, value: unknown, path: string, isStrict: boolean): string | null {
  if (typeof value !== "object" || value === null || Array.isArray(value)) return path;
  const { properties = {}, required = [], additionalProperties: others } = schema;
  // Not `in`: every object has a constructor.
  const lacking = required.find((name) => !Object.hasOwn(value, name));
  if (lacking !== undefined) return `${path}.${lacking}`;
  return findFirst(Object.entries(value), ([name, member]) => {
    const memberPath = `${path}.${name}`;
    if (Object.hasOwn(properties, name)) return findMismatch(properties[name] ?? {}, member, memberPath, isStrict);
    if (others === false) return isStrict ? memberPath : null;
    return findMismatch(others ?? {}, member, memberPath, isStrict);
  });
}

/** The first mismatch that `find` has of the items. */
function findFirst<Item>(items: readonly Item[], find: (item: Item, index: number) => string | null): string | null {
  for (const [index, item] of items.entries()) {
    const mismatch = find(item, index);
    if (mismatch !== null) return mismatch;
  }
  return null;
}
