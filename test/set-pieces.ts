/**
 * `npm run set-pieces`: writes test/vectors/set-pieces.json anew from the code. To be run after a format or a rule has changed, and its
 * difference read: a verdict that nobody meant to change is a defect.
 */
import { writeFileSync } from "node:fs";

import { readOptions } from "../scripts/options.ts";
import { writeSetPieces } from "./fixtures/set-piece-file.ts";

readOptions({
  command: "npm run set-pieces",
  about:
    "Writes test/vectors/set-pieces.json anew from the code, after a format or a rule has changed. Read its difference.",
  options: {},
});

const path = new URL("vectors/set-pieces.json", import.meta.url);
writeFileSync(path, `${JSON.stringify(await writeSetPieces(), null, 1)}\n`);
console.log("wrote test/vectors/set-pieces.json");
