/** What `anchor` may do and pay, from the command line. */
import type { FeeLimits } from "../io/chain/transactions/fees.ts";
import type { Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { MAX_MESSAGES } from "../protocol/manifest.ts";
import { DEFAULT_LIMITS, parseLimits } from "./fee-options.ts";
import { parseAddressOption } from "./named-option.ts";

export interface AnchorArguments {
  readonly from: string | undefined;
  readonly maxFee: string | undefined;
  readonly maxCost: string | undefined;
  readonly confirmations: string | undefined;
  readonly waitFinal: boolean;
  readonly timeout: string | undefined;
  readonly dryRun: boolean;
  readonly fork: boolean;
  readonly watch: boolean;
  readonly interval: string | undefined;
  readonly json: boolean;
}

export interface AnchorOptions {
  /** The anchorer's account; undefined: the network's first. */
  readonly from: Address | undefined;
  readonly limits: FeeLimits;
  /** How many blocks, its own included, an anchor must lie deep before it is reported. */
  readonly confirmations: number;
  readonly waitFinal: boolean;
  /** Whether it builds past anchors whose content no source has. */
  readonly isFork: boolean;
  /** So many messages are listed in one manifest at most; more take several. */
  readonly maxMessages: number;
  /** How long a run waits for one transaction, and for its confirmations. */
  readonly timeoutMs: number;
}

const DEFAULT_TIMEOUT_S = 300;
const DEFAULT_INTERVAL_S = 600;

export const DEFAULT_OPTIONS: AnchorOptions = {
  from: undefined,
  limits: DEFAULT_LIMITS,
  confirmations: 1,
  waitFinal: false,
  isFork: false,
  maxMessages: MAX_MESSAGES,
  timeoutMs: DEFAULT_TIMEOUT_S * 1_000,
};

/** @throws OPTION_INVALID, ADDRESS_INVALID */
export function parseAnchorOptions(args: AnchorArguments): AnchorOptions {
  if (args.interval !== undefined && !args.watch)
    throw new DmtpError("OPTION_INVALID", "an interval is for --watch only");
  if (args.watch && (args.dryRun || args.waitFinal)) {
    throw new DmtpError("OPTION_INVALID", "--watch goes with neither --dry-run nor --wait-final");
  }
  if (args.watch && args.fork)
    throw new DmtpError("OPTION_INVALID", "--fork gives up what can't be read once, so it does not go with --watch");
  return {
    from: args.from === undefined ? undefined : parseAddressOption("--from", args.from),
    limits: parseLimits(args),
    confirmations: whole("--confirmations", args.confirmations ?? "1", 1, 10_000),
    waitFinal: args.waitFinal,
    isFork: args.fork,
    maxMessages: MAX_MESSAGES,
    timeoutMs: whole("--timeout", args.timeout ?? String(DEFAULT_TIMEOUT_S), 1, 86_400) * 1_000,
  };
}

/** Seconds between the ends of two rounds. @throws OPTION_INVALID */
export function parseInterval(text: string | undefined): number {
  return whole("the interval of --watch", text ?? String(DEFAULT_INTERVAL_S), 1, 86_400);
}

function whole(option: string, text: string, min: number, max: number): number {
  const value = /^[0-9]{1,9}$/.test(text) ? Number(text) : Number.NaN;
  if (!(value >= min && value <= max)) {
    throw new DmtpError("OPTION_INVALID", `${option} is not a whole number from ${min} to ${max}`);
  }
  return value;
}
