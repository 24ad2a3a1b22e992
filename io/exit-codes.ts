import type { ErrorKind } from "../protocol/error.ts";

/** How a process ends, by the kind of error (sysexits.h); 75 says that trying again can help. */
export const EXIT_CODES: Readonly<Record<ErrorKind, number>> = { input: 1, integrity: 65, unavailable: 75, bug: 70 };
