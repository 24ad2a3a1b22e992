import { expect } from "chai";
import fc from "fast-check";

import { toHex, utf8 } from "../../protocol/bytes.ts";
import { mapOf, type CborValue } from "../../protocol/cbor.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { contentOfText, decodeContent, encodeContent, MAX_BODY_BYTES, textOfContent } from "../../protocol/content.ts";
import { codeOf } from "../fixtures/refusal.ts";

describe("Content", () => {
  it("gives back every text unchanged", () => {
    const texts = [
      "Hi",
      "a\n\nb",
      "नमस्ते 你好 مرحبا",
      "🚀👩‍👩‍👧",
      "\0",
      "<script>alert(1)</script>",
      "\u202Eabc\u202C",
      "\uFEFFx",
    ];
    for (const text of texts) expect(textOfContent(decodeContent(encodeContent(contentOfText(text))))).to.equal(text);
    fc.assert(
      fc.property(fc.string({ unit: "binary", minLength: 1 }), (text) => {
        expect(textOfContent(decodeContent(encodeContent(contentOfText(text))))).to.equal(text);
      }),
    );
  });

  it("is refused as a text when empty, not Unicode, or over 512 KiB", () => {
    expect(codeOf(() => contentOfText(""))).to.equal("TEXT_EMPTY");
    expect(codeOf(() => contentOfText("a\ud83d"))).to.equal("TEXT_NOT_UNICODE");
    expect(codeOf(() => contentOfText("\udc00\ud83d"))).to.equal("TEXT_NOT_UNICODE");
    expect(codeOf(() => contentOfText("é".repeat(MAX_BODY_BYTES / 2)))).to.equal(null);
    expect(codeOf(() => contentOfText("é".repeat(MAX_BODY_BYTES / 2) + "a"))).to.equal("TEXT_TOO_LONG");
  });

  it("takes media types of RFC 6838 in lower case without parameters, and no others", () => {
    const body = utf8("x");
    for (const type of ["text/plain", "application/vnd.dmtp.reply+cbor", "x/y", `a/${"b".repeat(125)}`]) {
      expect(decodeContent(encodeContent({ type, body }))).to.deep.equal({ type, body });
    }
    for (const type of [
      "",
      "text",
      "text/",
      "/plain",
      "Text/plain",
      "text/plain; charset=utf-8",
      "text/plain\n",
      "te xt/a",
      "a/b/c",
      "é/b",
    ]) {
      expect(
        codeOf(() => encodeContent({ type, body })),
        type,
      ).to.equal("CONTENT_MALFORMED");
      expect(
        codeOf(() => decodeContent(encode(mapOf({ type, body })))),
        type,
      ).to.equal("CONTENT_MALFORMED");
    }
    expect(codeOf(() => encodeContent({ type: `a/${"b".repeat(126)}`, body }))).to.equal("CONTENT_MALFORMED");
  });

  it("is refused when it is anything but a map of exactly type and body", () => {
    const body = utf8("x");
    const malformed: CborValue[] = [
      null,
      7,
      [],
      mapOf({}),
      mapOf({ type: "text/plain" }),
      mapOf({ type: "text/plain", body, extra: null }),
      mapOf({ type: "text/plain", body: "x" }),
      mapOf({ type: utf8("text/plain"), body }),
      mapOf({ type: "text/plain", body: new Uint8Array(MAX_BODY_BYTES + 1) }),
    ];
    for (const value of malformed) expect(codeOf(() => decodeContent(encode(value)))).to.equal("CONTENT_MALFORMED");
    expect(codeOf(() => decodeContent(new Uint8Array(0)))).to.equal("CONTENT_MALFORMED");
    const [first = 0, ...rest] = encodeContent({ type: "text/plain", body });
    expect(first).to.equal(0xa2);
    expect(codeOf(() => decodeContent(Uint8Array.of(0xb8, 2, ...rest)))).to.equal("CONTENT_MALFORMED");
  });

  it("has no text when it is of another type, or not UTF-8", () => {
    expect(textOfContent({ type: "text/markdown", body: utf8("x") })).to.equal(null);
    expect(textOfContent({ type: "text/plain", body: Uint8Array.of(0xff) })).to.equal(null);
    expect(textOfContent({ type: "text/plain", body: new Uint8Array(0) })).to.equal("");
  });

  it("is encoded with its body first, as DAG-CBOR orders keys", () => {
    expect(toHex(encodeContent(contentOfText("Hi")))).to.equal(
      `0xa264626f6479${"42" + toHex(utf8("Hi")).slice(2)}6474797065${"6a" + toHex(utf8("text/plain")).slice(2)}`,
    );
  });
});
