import { gzipSync } from "node:zlib";

import { expect } from "chai";

import { bundleForPage } from "../fixtures/browser-bundle.ts";

/** Above it, a page that only wants to read waits for it. */
const MAX_GZIP_BYTES = 56_500;

/** Reading an indexer, verifying, and what writing needs: keys, sealing, messages and their contents. */
const MODULES = [
  "client/indexer.ts",
  "client/verify.ts",
  "client/room-report.ts",
  "protocol/binding.ts",
  "protocol/content.ts",
  "protocol/identity.ts",
  "protocol/key-document.ts",
  "protocol/message.ts",
  "protocol/sealing.ts",
];

describe("What a page loads to read, verify and write", () => {
  it(`is at most ${MAX_GZIP_BYTES} bytes, compressed, and holds no package but these`, async () => {
    const { script, packages } = await bundleForPage(MODULES.map((path) => `export * from "./${path}";`).join("\n"));
    expect(packages).to.deep.equal(["@noble/ciphers", "@noble/curves", "@noble/hashes", "eventsource-parser"]);
    expect(gzipSync(script, { level: 9 }).length).to.be.at.most(MAX_GZIP_BYTES);
  }).timeout(30_000);
});
