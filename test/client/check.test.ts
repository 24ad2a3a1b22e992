import { expect } from "chai";

import { findMismatch, parseAnswer } from "../../client/api/check.ts";
import {
  array,
  base64,
  boolean,
  hex,
  integer,
  named,
  nullable,
  number,
  object,
  oneOf,
  partialObject,
  record,
  text,
  union,
  type AnySchema,
} from "../../client/api/schema.ts";
import { anchorSchema, keySchema } from "../../client/api/chain.ts";
import { messageSchema } from "../../client/api/rooms.ts";
import { codeOf } from "../fixtures/refusal.ts";

const CASES: [name: string, schema: AnySchema, fits: unknown[], misfits: unknown[]][] = [
  ["a text", text(), ["", "a\n"], [null, 7, {}]],
  ["a text of a pattern", text("^[a-c]+$"), ["abc"], ["", "abcd", "abc\n", "d"]],
  ["bytes as text", hex(), ["0x", "0x00ff"], ["", "0x0", "0xFF", "00", "0x00 "]],
  ["bytes of one length", hex(2), ["0x00ff"], ["0x", "0x00", "0x00ff00"]],
  ["base64", base64, ["", "AA==", "AAA=", "AAAA"], ["A", "AA", "AAA", "AA=A", "AA==AAAA", "AA-_"]],
  ["a count", integer(), [0, 1, Number.MAX_SAFE_INTEGER], [-1, 0.5, 2 ** 53, NaN, Infinity, "1", null]],
  ["a number in bounds", integer(400, 599), [400, 599], [399, 600]],
  ["a measurement", number, [0, 0.5], [-0.5, NaN, "0.5"]],
  ["a flag", boolean, [true, false], [0, "true", null]],
  ["a choice", oneOf("asc", "desc"), ["asc", "desc"], ["", "ASC", "ascdesc", 0]],
  ["a list", array(integer(), 2), [[], [1], [1, 2]], [[1, 2, 3], ["1"], [null], {}, "", { length: 0 }]],
  ["a value or null", nullable(integer()), [null, 1], [undefined, "null", -1]],
  ["members by any name", record(integer()), [{}, { a: 1, constructor: 2 }], [{ a: "1" }, [], null]],
  ["an object", object({ a: integer() }), [{ a: 1 }], [{}, [], null, { a: null }, Object.create({ a: 1 })]],
  ["an object that may lack a member", partialObject({}, { a: integer() }), [{}, { a: 1 }], [{ a: null }]],
  [
    "one of two objects",
    union(object({ kind: oneOf("a"), x: integer() }), object({ kind: oneOf("b") })),
    [{ kind: "a", x: 1 }, { kind: "b" }],
    [{ kind: "a" }, { kind: "c" }, {}],
  ],
  ["what has a name", named(integer(), "Count"), [1], ["1"]],
];

const HASH = `0x${"00".repeat(32)}`;
const PLACE = { blockNumber: 1, blockHash: HASH, transactionHash: HASH, final: true };

describe("A schema of the API", () => {
  for (const [name, schema, fits, misfits] of CASES) {
    it(`takes ${name}, and nothing else`, () => {
      for (const value of fits) expect(findMismatch(schema, value, "answer"), JSON.stringify(value)).to.equal(null);
      for (const value of misfits) {
        expect(findMismatch(schema, value, "answer"), JSON.stringify(value)).to.match(/^answer/);
        expect(codeOf(() => parseAnswer(schema, value, "answer"))).to.equal("ANSWER_MALFORMED");
      }
    });
  }

  it("leaves alone what a newer indexer adds, unless it is asked to be strict", () => {
    const schema = object({ a: array(object({ b: integer() })) });
    const answer = { a: [{ b: 1, c: 2 }], constructor: 3 };
    expect(findMismatch(schema, answer, "answer")).to.equal(null);
    expect(findMismatch(schema, answer, "answer", true)).to.equal("answer.a.0.c");
    expect(findMismatch(schema, { a: [], constructor: 3 }, "answer", true)).to.equal("answer.constructor");
  });

  it("names the member that does not fit, of the alternative that was meant", () => {
    const key = { kind: "key", index: 1, version: 1, ...PLACE, logIndex: 0 };
    expect(findMismatch(keySchema, key, "key")).to.equal("key.encryptionKey");
    const tombstone = { ...key, kind: "revocation" };
    expect(findMismatch(keySchema, tombstone, "key")).to.equal(null);
    expect(findMismatch(keySchema, { ...tombstone, blockHash: "0x" }, "key")).to.equal("key.blockHash");
    expect(findMismatch(anchorSchema, { index: 1, cid: "bafy" }, "anchor")).to.match(/^anchor\.\w+$/);
    expect(findMismatch(messageSchema, null, "message")).to.equal("message");
  });
});
