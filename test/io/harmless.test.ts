import { expect } from "chai";
import fc from "fast-check";

import { harmless, harmlessJson, harmlessLine, shortLine } from "../../io/harmless.ts";

/** Clears the screen; a hyperlink; CSI as one character; turns what follows around; ends a line where no newline is. */
const ATTACKS = [
  "\x1b[2J",
  "\x1b]8;;https://example.org\x07",
  "\u009b31m",
  "\u202egnp.exe",
  "\u2066\u2069",
  "a\u2028b",
  "\r",
];
const DANGEROUS = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u;

const anyText = fc.oneof(
  fc.string({ unit: "binary" }),
  fc.array(fc.oneof(fc.constantFrom(...ATTACKS), fc.string({ unit: "grapheme" }))).map((parts) => parts.join("")),
);

describe("A stranger's text", () => {
  it("moves, colours and reorders nothing on a terminal, and stays readable", () => {
    for (const attack of ATTACKS) {
      expect(harmless(attack)).not.to.match(DANGEROUS);
      expect(harmless(`before ${attack} behind`)).to.match(/^before .* behind$/);
    }
    for (const plain of ["Grüß dich 👋🏽", "नमस्ते", "مرحبا", "👩‍🚀", "one\n\ttwo"]) expect(harmless(plain)).to.equal(plain);
    expect(harmless("\x1b[31mred")).to.equal("\\u{1b}[31mred");
  });

  it("is harmless whatever it is, and one line where one is asked for", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        expect(harmless(text).replaceAll(/[\n\t\u200c\u200d]/g, "")).not.to.match(DANGEROUS);
        expect(harmlessLine(text).replaceAll(/[\u200c\u200d]/g, "")).not.to.match(DANGEROUS);
      }),
      { numRuns: 500 },
    );
  });

  it("is one short line in a log, however long it was", () => {
    const forged = `no\nerror[INTERNAL]: forged\r\n\u2028${"A".repeat(10_000_000)}`;
    expect(shortLine(forged)).to.match(/^no\\u\{a\}error.INTERNAL.: forged\\u\{d\}\\u\{a\}\\u\{2028\}A{900,1000}…$/);
    expect(shortLine("short")).to.equal("short");
  });

  it("is exact in JSON all the same", () => {
    fc.assert(
      fc.property(fc.dictionary(anyText, fc.array(anyText)), (value) => {
        const json = harmlessJson(value);
        expect(json.replaceAll("\n", "")).not.to.match(DANGEROUS);
        expect(harmlessJson(value, 0)).not.to.match(DANGEROUS);
        expect(JSON.parse(json)).to.deep.equal(JSON.parse(JSON.stringify(value)));
      }),
      { numRuns: 300 },
    );
  });
});
