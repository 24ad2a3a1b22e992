/**
 * Keeps the compiled code of what a command loads, for the next command: without it each strips types and compiles anew, which takes
 * longer than most commands do. A folder that can't be written to costs nothing but that time.
 */
import { enableCompileCache } from "node:module";
import { fileURLToPath } from "node:url";

/** Where `npm run` keeps it too, beside the packages it is of. */
const FOLDER = fileURLToPath(new URL("../node_modules/.cache/compile", import.meta.url));

enableCompileCache(FOLDER);
