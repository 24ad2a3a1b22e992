/** What a command may pay, from the command line. */
import { parseUnits } from "ethers/utils";

import type { FeeLimits } from "../io/chain/transactions/fees.ts";
import { DmtpError } from "../protocol/error.ts";

/** A cap that an anchor reaches when gas costs 8,000 gwei, and a registration at 4,000 gwei, which Polygon has not seen. */
const DEFAULT_MAX_COST = "0.5";

export const DEFAULT_LIMITS: FeeLimits = { maxFeePerGas: undefined, maxCost: parseUnits(DEFAULT_MAX_COST, "ether") };

/** @param maxFee in gwei @param maxCost in POL @throws OPTION_INVALID */
export function parseLimits({
  maxFee,
  maxCost,
}: {
  maxFee?: string | undefined;
  maxCost: string | undefined;
}): FeeLimits {
  return {
    maxFeePerGas: maxFee === undefined ? undefined : parseAmount("--max-fee", maxFee, "gwei"),
    maxCost: parseAmount("--max-cost", maxCost ?? DEFAULT_MAX_COST, "ether"),
  };
}

function parseAmount(option: string, text: string, unit: "gwei" | "ether"): bigint {
  const name = unit === "gwei" ? "gwei" : "POL";
  if (!/^[0-9]{1,12}(?:\.[0-9]{1,9})?$/.test(text) || /^[0.]+$/.test(text)) {
    throw new DmtpError(
      "OPTION_INVALID",
      `${option} is not an amount in ${name}, such as ${unit === "gwei" ? "200" : "0.5"}`,
    );
  }
  return parseUnits(text, unit);
}
