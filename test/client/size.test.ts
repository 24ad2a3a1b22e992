import { gzipSync } from "node:zlib";

import { expect } from "chai";

import { bundleForPage } from "../fixtures/browser-bundle.ts";

/** Reading an indexer, verifying, and what writing needs: keys, sealing, messages and their contents. */
const READING = [
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
/** What a page waits for, compressed, by what it does. */
const PAGES = [
  { does: "read, verify and seal", modules: READING, maxGzipBytes: 56_500 },
  {
    does: "write through a relay too",
    modules: [...READING, "client/relay.ts", "client/messenger.ts"],
    maxGzipBytes: 62_000,
  },
];

describe("What a page loads", () => {
  for (const { does, modules, maxGzipBytes } of PAGES) {
    it(`to ${does} is at most ${maxGzipBytes} bytes, compressed, and holds no package but these`, async () => {
      const { script, packages } = await bundleForPage(modules.map((path) => `export * from "./${path}";`).join("\n"));
      expect(packages).to.deep.equal(["@noble/ciphers", "@noble/curves", "@noble/hashes", "eventsource-parser"]);
      expect(gzipSync(script, { level: 9 }).length).to.be.at.most(maxGzipBytes);
    }).timeout(30_000);
  }
});
