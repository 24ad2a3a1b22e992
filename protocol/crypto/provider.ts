import { native } from "#native";

import { portable } from "./portable.ts";
import type { Primitives } from "./primitives.ts";

/** The primitives that this machine runs: chosen here and nowhere else. */
export const primitives: Primitives = native ?? portable;
