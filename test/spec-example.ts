/**
 * `npm run spec-example`: writes the worked example of protocol/SPEC.md anew from the code, each value in its place. To be run after
 * a format has changed, and its difference read: a value that nobody meant to change is a defect.
 */
import { readFileSync, writeFileSync } from "node:fs";

import { readOptions } from "../scripts/options.ts";
import { render, workedExample } from "./fixtures/worked-example.ts";

readOptions({
  command: "npm run spec-example",
  about:
    "Writes the worked example of protocol/SPEC.md anew from the code, after a format has changed. Read its difference.",
  options: {},
});

const path = new URL("../protocol/SPEC.md", import.meta.url);
const before = readFileSync(path, "utf8");
const rebuilt = new Map((await workedExample()).map((section) => [section.name, render(section)]));
const written = new Set<string>();
const after = before.replace(/^```example (.+)\n[^]*?\n```$/gm, (block, name: string) => {
  const body = rebuilt.get(name);
  if (body === undefined) {
    console.error(`SPEC.md has a block «${name}» that nothing makes`);
    process.exitCode = 1;
    return block;
  }
  written.add(name);
  return `\`\`\`example ${name}\n${body}\n\`\`\``;
});
for (const name of rebuilt.keys()) {
  if (written.has(name)) continue;
  console.error(`SPEC.md has no block «${name}»: add an empty one where it belongs`);
  process.exitCode = 1;
}
writeFileSync(path, after);
console.log(after === before ? "SPEC.md is as the code makes it" : "SPEC.md has new values");
