/** The environment variables that DMTP reads, all of them here. Secrets of accounts are Hardhat's, and are not among them. */
import { z } from "zod";

import { parseAddress, type Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { LOG_FORMATS, LOG_LEVELS } from "./log.ts";

export interface IpfsApi {
  readonly url: URL;
  /** Sent with every request to it. */
  readonly headers: Readonly<Record<string, string>>;
}

export interface Environment {
  readonly cidStore: Address | undefined;
  readonly keyRegistry: Address | undefined;
  /** Where mailbox, blocks and index are kept; `.dmtp/<chain id>` when not given. */
  readonly dataDir: string | undefined;
  /** Kubo nodes: all are written to, each is read from. None: blocks in a folder. */
  readonly ipfsApis: readonly IpfsApi[];
  /** Where else blocks may be read from, in the form that io/content/open.ts parses. */
  readonly contentSources: readonly string[];
  /** Of the pinning service that `pin --to` copies to. */
  readonly pinningToken: string | undefined;
  /** JSON-RPC endpoints that must agree. */
  readonly rpcUrls: readonly string[];
  readonly chainId: number | undefined;
  readonly host: string;
  readonly port: number;
  /** Web pages that may use a service: origins, or `*`; not given: the relay is for all, the indexer for none. */
  readonly corsOrigins: readonly string[] | undefined;
  /** Where the relay listens. */
  readonly relayPort: number;
  /** By how many blocks the relay promises an anchor. */
  readonly promiseBlocks: number | undefined;
  /** Proxies of the operator in front of the relay, each of which adds to X-Forwarded-For. */
  readonly trustedProxies: number;
  /** A module whose default export decides which messages the relay takes. */
  readonly relayPolicy: string | undefined;
  readonly pollIntervalMs: number;
  /** How deep a block lies when it counts as final, on a chain without a `finalized` tag. */
  readonly finalityDepth: number;
}

const url = z.string().refine(isHttpUrl, "not an http or https URL");
const list = z.string().transform((text) => text.split(",").map((part) => part.trim()));
const headers = z.record(
  z.string().regex(/^[!#$%&'*+.^`|~0-9A-Za-z-]+$/),
  z.string().regex(/^[\t\x20-\x7e]*$/),
  "not a JSON object of header names and values",
);
const rpcUrl = z.string().refine(isRpcUrl, "not an http, https, ws or wss URL");
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
  IPFS_API_URL: list.pipe(z.array(url.transform((text) => new URL(text)))).optional(),
  IPFS_API_HEADERS: z
    .string()
    .transform(parseJson)
    .pipe(z.union([headers, z.array(headers)], "not JSON: an object of headers, or a list of such"))
    .optional(),
  CONTENT_SOURCES: list.optional(),
  PINNING_TOKEN: z
    .string()
    .regex(/^[\x21-\x7e]+$/, "not a token of printable ASCII characters")
    .optional(),
  RPC_URL: list.pipe(z.array(rpcUrl)).optional(),
  CHAIN_ID: integer(1, Number.MAX_SAFE_INTEGER).optional(),
  HOST: z.string().default("127.0.0.1"),
  PORT: integer(0, 65_535).default(4680),
  CORS_ORIGINS: z
    .string()
    .transform((list) => list.split(",").map((part) => part.trim()))
    .pipe(z.array(z.string().refine(isOrigin, "not a list of origins such as https://app.example, or *")))
    .optional(),
  RELAY_PORT: integer(0, 65_535).default(4681),
  RELAY_PROMISE_BLOCKS: integer(2, 1_000_000).optional(),
  RELAY_TRUSTED_PROXIES: integer(0, 16).default(0),
  RELAY_POLICY: z.string().optional(),
  POLL_INTERVAL_MS: integer(50, 3_600_000).default(2_000),
  FINALITY_DEPTH: integer(0, 1_000_000).default(256),
  // A service's process reads them before all others, to log what is wrong with these: io/log.ts.
  LOG_FORMAT: z.enum(LOG_FORMATS).optional(),
  LOG_LEVEL: z.enum(LOG_LEVELS).optional(),
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
    ipfsApis: ipfsApisOf(data.IPFS_API_URL ?? [], data.IPFS_API_HEADERS ?? {}),
    contentSources: data.CONTENT_SOURCES ?? [],
    pinningToken: data.PINNING_TOKEN,
    rpcUrls: data.RPC_URL ?? [],
    chainId: data.CHAIN_ID,
    host: data.HOST,
    port: data.PORT,
    corsOrigins: data.CORS_ORIGINS,
    relayPort: data.RELAY_PORT,
    promiseBlocks: data.RELAY_PROMISE_BLOCKS,
    trustedProxies: data.RELAY_TRUSTED_PROXIES,
    relayPolicy: data.RELAY_POLICY,
    pollIntervalMs: data.POLL_INTERVAL_MS,
    finalityDepth: data.FINALITY_DEPTH,
  };
}

/** Headers as one object go to every node; a list has one object for each, so that no node gets another's token. */
function ipfsApisOf(urls: readonly URL[], given: IpfsApi["headers"] | readonly IpfsApi["headers"][]): IpfsApi[] {
  if (Array.isArray(given) && given.length !== urls.length) {
    throw new DmtpError("CONFIGURATION_INVALID", "IPFS_API_HEADERS is not a list with an object for each IPFS_API_URL");
  }
  return urls.map((each, i) => ({
    url: each,
    headers: (Array.isArray(given) ? given[i] : given) as IpfsApi["headers"],
  }));
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function isRpcUrl(text: string): boolean {
  return URL.canParse(text) && /^(?:https?|wss?):$/.test(new URL(text).protocol);
}

function isHttpUrl(text: string): boolean {
  return URL.canParse(text) && /^https?:$/.test(new URL(text).protocol);
}

/** As a browser writes it into the Origin header: no path, no slash at the end. */
function isOrigin(text: string): boolean {
  return text === "*" || (isHttpUrl(text) && new URL(text).origin === text);
}
