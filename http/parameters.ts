/** What requests may say: the parameters of all routes. */
import { z } from "zod";

import { parseAddress } from "../protocol/address.ts";
import { isCid, type Cid } from "../protocol/cid.ts";
import { parseRoomId } from "../protocol/room.ts";
import { DmtpError } from "../protocol/error.ts";

export const MAX_LIMIT = 200;
const DEFAULT_LIMIT = 50;

/** Each transform throws its own code (ADDRESS_INVALID, …), which says more than zod's issue would. */
export const walletParameter = z
  .string()
  .meta({ description: "A wallet, checksummed or all in one case", pattern: "^0x[0-9a-fA-F]{40}$" })
  .transform((text) => parseAddress(text));

export const roomParameter = z
  .string()
  .meta({ description: "A room id", pattern: "^0x[0-9a-f]{64}$" })
  .transform((text) => parseRoomId(text));

export const cidParameter = z
  .string()
  .meta({ description: "A block's CID", pattern: "^bafyrei[a-h][a-z2-7]{50}[aeimquy4]$" })
  // Not parseCid, whose refusal speaks of a block that breaks the protocol: here only the request does.
  .refine((text): text is Cid => isCid(text), "not the canonical CID of a DMTP block");

export const indexParameter = z
  .string()
  .regex(/^(0|[1-9][0-9]{0,14})$/, "not an index")
  .meta({ description: "An anchor's index" })
  .transform(Number);

export const sinceParameter = indexParameter
  .meta({ description: "An anchor's index: only what it and later anchors list" })
  .optional();

export const verdictParameter = z
  .enum(["verified", "rejected", "missing"])
  .meta({ description: "Only what has this verdict" })
  .optional();

const limitParameter = z
  .string()
  .regex(/^([1-9]|[1-9][0-9]|1[0-9]{2}|200)$/, `not a whole number from 1 to ${MAX_LIMIT}`)
  .meta({ description: `Items a page, 1 to ${MAX_LIMIT}; ${DEFAULT_LIMIT} unless given` })
  .transform(Number)
  .optional()
  .transform((limit) => limit ?? DEFAULT_LIMIT);

const cursorParameter = z
  .string()
  .max(256)
  .meta({ description: "`next` of the page before, with the other parameters unchanged; `limit` may change" })
  .optional();

/** Where a stream of events goes on. */
export const afterParameter = z
  .string()
  .max(64)
  .meta({ description: "As Last-Event-ID, for a first connection; the header wins" })
  .optional();

export const pagingParameters = { limit: limitParameter, cursor: cursorParameter };

export const orderParameter = z
  .enum(["asc", "desc"])
  .meta({ description: "asc (unless given): as on the chain; desc: newest first" })
  .optional()
  .transform((order) => order ?? "asc");

export const includeParameter = z
  .enum(["block"])
  .meta({ description: "block: each message with its envelope's bytes in base64" })
  .optional()
  .transform((include) => include === "block");

/**
 * Unknown names are refused too: a misspelt filter must not look like an empty one.
 * @throws PARAMETER_INVALID, and what the parsers throw
 */
export function parseParameters<Output>(schema: z.ZodType<Output>, given: unknown): Output {
  const parsed = schema.safeParse(given);
  if (parsed.success) return parsed.data;
  const [issue] = parsed.error.issues;
  const name = issue?.path.join(".") ?? "";
  // The value is not repeated: it may be 10 kB, and it is the client's own.
  const what =
    issue?.code === "unrecognized_keys"
      ? "the query has a parameter that is not known here"
      : `${name}: ${issue?.message ?? "invalid"}`;
  throw new DmtpError("PARAMETER_INVALID", what);
}
