/**
 * Shapes of JSON values as JSON Schema (draft 2020-12), each with its TypeScript types. The indexer makes its OpenAPI document of
 * them, and check.ts holds an answer against them. Written here and not taken from a library, since a page has to load it: zod takes
 * 27 kB of a compressed script for the same shapes, zod/mini 8 kB, and this below one.
 */
import type { Hex } from "../../protocol/bytes.ts";

/** The part of JSON Schema that shapes are made of. */
export interface JsonSchema {
  readonly type?: "string" | "integer" | "number" | "boolean" | "null" | "array" | "object";
  readonly pattern?: string;
  readonly contentEncoding?: "base64";
  readonly enum?: readonly string[];
  readonly minimum?: number;
  readonly maximum?: number;
  readonly items?: JsonSchema;
  readonly maxItems?: number;
  readonly properties?: Readonly<Record<string, JsonSchema>>;
  readonly required?: readonly string[];
  readonly additionalProperties?: false | JsonSchema;
  readonly anyOf?: readonly JsonSchema[];
  /** The name under which the OpenAPI document has it. */
  readonly $id?: string;
}

declare const types: unique symbol;

/**
 * `Value` is what a reader has once check.ts has let it pass. `Plain` is what a server gives: the same members, with texts that no
 * parser has branded.
 */
export type Schema<Value, Plain = Value> = JsonSchema & { readonly [types]?: readonly [Value, Plain] };

// eslint-disable-next-line @typescript-eslint/no-explicit-any -- any schema at all, whatever its types
export type AnySchema = Schema<any, any>;
export type Value<S extends AnySchema> = S extends Schema<infer V, infer _> ? V : never;
export type Plain<S extends AnySchema> = S extends Schema<infer _, infer P> ? P : never;

type Members = Readonly<Record<string, AnySchema>>;

type ObjectSchema<M extends Members> = Schema<
  { readonly [Name in keyof M]: Value<M[Name]> },
  { [Name in keyof M]: Plain<M[Name]> }
>;
type PartialSchema<Required extends Members, Optional extends Members> = Schema<
  { readonly [Name in keyof Required]: Value<Required[Name]> } & {
    readonly [Name in keyof Optional]?: Value<Optional[Name]>;
  },
  { [Name in keyof Required]: Plain<Required[Name]> } & { [Name in keyof Optional]?: Plain<Optional[Name]> }
>;

/** Gives a schema its name in the OpenAPI document; what it means stands in descriptions.ts. */
// @__NO_SIDE_EFFECTS__
export function named<S extends AnySchema>(schema: S, $id: string): Schema<Value<S>, Plain<S>> {
  return { ...schema, $id };
}

/** Any text, or one that this regular expression takes. */
// @__NO_SIDE_EFFECTS__
export function text(pattern?: string): Schema<string> {
  return { type: "string", ...(pattern !== undefined && { pattern }) };
}

/** A text that this regular expression takes, and that is therefore what a parser would brand so. */
// @__NO_SIDE_EFFECTS__
export function branded<Brand extends string>(pattern: string): Schema<Brand, string> {
  return { type: "string", pattern };
}

/** @param sizeBytes any number of bytes unless given */
// @__NO_SIDE_EFFECTS__
export function hex(sizeBytes?: number): Schema<Hex, string> {
  return branded(hexPattern(sizeBytes));
}

// @__NO_SIDE_EFFECTS__
export function hexPattern(sizeBytes?: number): string {
  return `^0x(?:[0-9a-f]{2})${sizeBytes === undefined ? "*" : `{${sizeBytes}}`}$`;
}

/** Bytes as text. */
export const base64: Schema<string> = {
  type: "string",
  contentEncoding: "base64",
  pattern: "^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$",
};

/** A whole number of at least 0, unless `minimum` and `maximum` say otherwise. */
// @__NO_SIDE_EFFECTS__
export function integer(minimum = 0, maximum = Number.MAX_SAFE_INTEGER): Schema<number> {
  return { type: "integer", minimum, maximum };
}

/** Any number of at least 0. */
export const number: Schema<number> = { type: "number", minimum: 0 };

export const boolean: Schema<boolean> = { type: "boolean" };

/** One of these texts. */
// @__NO_SIDE_EFFECTS__
export function oneOf<const Choice extends string>(...choices: readonly Choice[]): Schema<Choice> {
  return { type: "string", enum: choices };
}

// @__NO_SIDE_EFFECTS__
export function nullable<S extends AnySchema>(schema: S): Schema<Value<S> | null, Plain<S> | null> {
  return { anyOf: [schema, { type: "null" }] };
}

// @__NO_SIDE_EFFECTS__
export function array<S extends AnySchema>(items: S, maxItems?: number): Schema<readonly Value<S>[], Plain<S>[]> {
  return { type: "array", items, ...(maxItems !== undefined && { maxItems }) };
}

/** An object whose members have names that nobody knows before, and values of one schema. */
// @__NO_SIDE_EFFECTS__
export function record<S extends AnySchema>(
  values: S,
): Schema<Readonly<Record<string, Value<S>>>, Record<string, Plain<S>>> {
  return { type: "object", additionalProperties: values };
}

/** An object with these members. A newer server may add others, which no client refuses; the document promises none. */
// @__NO_SIDE_EFFECTS__
export function object<M extends Members>(members: M): ObjectSchema<M> {
  return partialObject(members, {});
}

/** An object that may lack some of its members. */
// @__NO_SIDE_EFFECTS__
export function partialObject<Required extends Members, Optional extends Members>(
  required: Required,
  optional: Optional,
): PartialSchema<Required, Optional> {
  return {
    type: "object",
    properties: { ...required, ...optional },
    required: Object.keys(required),
    additionalProperties: false,
  };
}

/** One of these objects, which a member that is `oneOf` a single text tells apart. */
// @__NO_SIDE_EFFECTS__
export function union<const Options extends readonly AnySchema[]>(
  ...options: Options
): Schema<Value<Options[number]>, Plain<Options[number]>> {
  return { anyOf: options };
}
