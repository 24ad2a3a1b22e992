/**
 * `npm run set-pieces`: writes test/vectors/set-pieces.json anew from the code. To be run after a format or a rule has changed, and its
 * difference read: a verdict that nobody meant to change is a defect.
 */
import { writeFileSync } from "node:fs";

import { writeSetPieces } from "./fixtures/set-piece-file.ts";

const path = new URL("vectors/set-pieces.json", import.meta.url);
writeFileSync(path, `${JSON.stringify(await writeSetPieces(), null, 1)}\n`);
console.log("wrote test/vectors/set-pieces.json");
