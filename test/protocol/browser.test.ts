import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { runInNewContext } from "node:vm";

import { expect } from "chai";

import { bundleReplay } from "../fixtures/browser-bundle.ts";
import { ALICE, BOB, CAROL, deltaOf, DEPLOYMENT, History } from "../fixtures/history.ts";
import { encodeInput, runReplay } from "../fixtures/portable-replay.ts";

const CHROMIUM = [process.env["CHROMIUM_BIN"], "/usr/bin/chromium", "/usr/bin/google-chrome"].find(
  (path) => path !== undefined && existsSync(path),
);

/** Verified, rejected and missing, of messages and anchors. */
function makeInput(): string {
  const history = new History();
  for (const person of [ALICE, BOB]) history.register(person);
  const room = history.room(ALICE, BOB);
  const first = history.message(ALICE, BOB, { text: "one" });
  const forged = history.message(BOB, ALICE, { text: "two", signer: ALICE.identity() });
  const early = history.message(CAROL, BOB, { text: "three" });
  history.anchor(deltaOf([room, [first, forged]], [history.room(CAROL, BOB), [early]]));
  history.anchorText("not a CID");
  const lost = history.message(ALICE, BOB, { seq: 2, text: "four" });
  history.anchor(deltaOf([room, [lost, first]]));
  history.blocks.delete(lost);
  return encodeInput({ deployment: DEPLOYMENT, events: history.events, blocks: [...history.blocks] });
}

describe("The replay outside of Node", () => {
  it("gives the same verdicts and roots, by the portable cryptography, with nothing but the language and TextEncoder", async () => {
    const input = makeInput();
    const native = runReplay(input);
    expect(native.implementation).to.equal("native with libsodium");
    for (const part of [
      '"verified"',
      "SIGNATURE_INVALID",
      "KEY_UNKNOWN",
      "DUPLICATE",
      "CID_NOT_CANONICAL",
      '"missing"',
    ]) {
      expect(native.result).to.contain(part);
    }
    const globals = { TextEncoder, TextDecoder, input };
    const portable: unknown = runInNewContext(
      `${await bundleReplay()}; JSON.stringify(dmtp.runReplay(input))`,
      globals,
    );
    expect(JSON.parse(portable as string)).to.deep.equal({ implementation: "portable", result: native.result });
  }).timeout(60_000);

  const title = "gives them in a real browser too";
  (CHROMIUM === undefined ? it.skip : it)(
    CHROMIUM === undefined ? `${title} (skipped: no Chromium here; set CHROMIUM_BIN)` : title,
    async () => {
      const input = makeInput();
      const folder = await mkdtemp(join(tmpdir(), "dmtp-browser-"));
      try {
        const page = join(folder, "page.html");
        await writeFile(join(folder, "bundle.js"), await bundleReplay());
        await writeFile(join(folder, "input.js"), `const input = ${JSON.stringify(input)};`);
        await writeFile(
          page,
          `<!doctype html><meta charset="utf-8"><pre id="out"></pre><script src="bundle.js"></script><script src="input.js"></script>
           <script>document.getElementById("out").textContent = btoa(JSON.stringify(dmtp.runReplay(input)));</script>`,
        );
        const flags = [
          "--headless",
          "--no-sandbox",
          "--disable-gpu",
          "--no-first-run",
          "--disable-background-networking",
        ];
        const { stdout } = await promisify(execFile)(CHROMIUM ?? "", [
          ...flags,
          `--user-data-dir=${join(folder, "profile")}`,
          "--dump-dom",
          pathToFileURL(page).href,
        ]);
        const answer = /<pre id="out">([^<]*)<\/pre>/.exec(stdout)?.[1] ?? "";
        const { implementation, result } = runReplay(input);
        expect(implementation).to.equal("native with libsodium");
        expect(JSON.parse(Buffer.from(answer, "base64").toString())).to.deep.equal({
          implementation: "portable",
          result,
        });
      } finally {
        await rm(folder, { recursive: true, force: true });
      }
    },
  ).timeout(60_000);
});
