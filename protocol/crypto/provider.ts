import { libsodium } from "#libsodium";

import { createNative } from "./native.ts";
import { portable } from "./portable.ts";
import type { Primitives } from "./primitives.ts";

// Asked at run time, not imported: a browser bundle must not contain node:crypto. Node has the question since 20.16.
const { process } = globalThis as { readonly process?: Partial<Pick<NodeJS.Process, "getBuiltinModule">> };
const nodeCrypto = process?.getBuiltinModule?.("node:crypto");

/** The primitives that this machine runs: chosen here and nowhere else. */
export const primitives: Primitives = nodeCrypto === undefined ? portable : createNative(nodeCrypto, libsodium);
