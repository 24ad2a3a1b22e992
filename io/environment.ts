/** The environment variables that DMTP reads, all of them here. Secrets of accounts are Hardhat's, and are not among them. */
import { z } from "zod";

import { parseAddress, type Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";

export interface Environment {
  readonly cidStore: Address | undefined;
  readonly keyRegistry: Address | undefined;
  /** Where mailbox, blocks and index are kept; `.dmtp/<chain id>` when not given. */
  readonly dataDir: string | undefined;
  readonly ipfsApiUrl: URL | undefined;
  /** JSON-RPC endpoints that must agree. */
  readonly rpcUrls: readonly string[];
  readonly chainId: number | undefined;
  readonly host: string;
  readonly port: number;
  readonly pollIntervalMs: number;
  /** How deep a block lies when it counts as final, on a chain without a `finalized` tag. */
  readonly finalityDepth: number;
}

const url = z.string().refine(isHttpUrl, "not an http or https URL");
const address = z.string().transform((text, context) => {
  try {
    return parseAddress(text);
  } catch {
    context.addIssue({ code: "custom", message: "not an address, or with a wrong checksum" });
    return z.NEVER;
  }
});

/** A whole number, written in decimal digits. */
function integer(min: number, max: number): z.ZodType<number> {
  const message = `not a whole number from ${min} to ${max}`;
  return z
    .string()
    .regex(/^[0-9]{1,16}$/, message)
    .transform(Number)
    .refine((value) => value >= min && value <= max, message);
}

const VARIABLES = z.object({
  CID_STORE_ADDRESS: address.optional(),
  KEY_REGISTRY_ADDRESS: address.optional(),
  DMTP_DATA_DIR: z.string().optional(),
  IPFS_API_URL: url.transform((text) => new URL(text)).optional(),
  RPC_URL: z
    .string()
    .transform((list) => list.split(",").map((part) => part.trim()))
    .pipe(z.array(url))
    .optional(),
  CHAIN_ID: integer(1, Number.MAX_SAFE_INTEGER).optional(),
  HOST: z.string().default("127.0.0.1"),
  PORT: integer(0, 65_535).default(4680),
  POLL_INTERVAL_MS: integer(50, 3_600_000).default(2_000),
  FINALITY_DEPTH: integer(0, 1_000_000).default(256),
});

/**
 * An empty variable counts as not given.
 * @throws CONFIGURATION_INVALID that names the variable, and never its value, which may hold a key
 */
export function parseEnvironment(variables: Readonly<Record<string, string | undefined>>): Environment {
  const given = Object.fromEntries(
    Object.entries(variables).filter(([, value]) => value !== undefined && value !== ""),
  );
  const parsed = VARIABLES.safeParse(given);
  if (!parsed.success) {
    const what = parsed.error.issues.map(({ path, message }) => `${String(path[0])} is ${message}`);
    throw new DmtpError("CONFIGURATION_INVALID", what.join("; "));
  }
  const { data } = parsed;
  return {
    cidStore: data.CID_STORE_ADDRESS,
    keyRegistry: data.KEY_REGISTRY_ADDRESS,
    dataDir: data.DMTP_DATA_DIR,
    ipfsApiUrl: data.IPFS_API_URL,
    rpcUrls: data.RPC_URL ?? [],
    chainId: data.CHAIN_ID,
    host: data.HOST,
    port: data.PORT,
    pollIntervalMs: data.POLL_INTERVAL_MS,
    finalityDepth: data.FINALITY_DEPTH,
  };
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}
