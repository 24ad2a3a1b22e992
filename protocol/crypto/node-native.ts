/** The native primitives of this machine; Node alone gets this file (`imports` in package.json). */
import nodeCrypto from "node:crypto";

import { libsodium } from "./libsodium.ts";
import { createNative } from "./native.ts";
import type { Primitives } from "./primitives.ts";

/** Null where no-native.ts stands in its place. */
export const native: Primitives | null = createNative(nodeCrypto, libsodium);
