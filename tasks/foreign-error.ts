/** What Hardhat and its provider throw, in DMTP's codes: a node that is away can come back, and a setting is a person's to mend. */
import { DmtpError } from "../protocol/error.ts";
import { unreachable } from "../io/chain/rpc/rpc-fault.ts";

/** Hardhat's numbers for a node: an answer that is no JSON-RPC, no connection, no answer in time. */
const AWAY = /^HHE70[234]\b/;
/** EIP-1193 errors of Hardhat's HTTP provider; the last has no other name for a connection that broke. */
const OF_PROVIDERS: ReadonlySet<string> = new Set(["ProviderError", "LimitExceededError", "UnknownError"]);
/** Ends with the name of the variable. */
const VARIABLE_NO_URL = /^HHE28: Invalid URL value for the configuration variable "(\w+)"/;
/** Of packages with a part in machine code: npm left out the one for this machine. */
const NATIVE_MISSING = /Cannot find native binding|Cannot find module '(?:@nomicfoundation\/edr-|[^']*\.node')/;
const NETWORK_UNKNOWN = "HHE705:";
const VARIABLE_MISSING = /^HHE7: Configuration Variable "(\w+)" not found/;

/** Null for an error that is none of theirs. */
export function translateForeignError(error: unknown): DmtpError | null {
  if (!(error instanceof Error)) return null;
  const message = error.message.replaceAll(/\s*\n\s*/g, " ");
  if (AWAY.test(message) || OF_PROVIDERS.has(error.name)) {
    return unreachable("the network", { fault: "network", code: 0, message, data: undefined });
  }
  if (NATIVE_MISSING.test(message)) {
    return new DmtpError("CONFIGURATION_INVALID", "packages are missing: an npm of another Node has installed them", {
      cause: error,
      hint: "Install what this machine needs: npm run setup",
    });
  }
  if (error.name !== "HardhatError") return null;
  if (message.startsWith(NETWORK_UNKNOWN)) {
    return new DmtpError("CONFIGURATION_INVALID", message, {
      cause: error,
      hint: "Choose localhost, amoy or polygon, or add a network to hardhat.config.ts.",
    });
  }
  const url = VARIABLE_NO_URL.exec(message)?.[1];
  if (url !== undefined) {
    return new DmtpError("CONFIGURATION_INVALID", `${url} is no URL`, {
      cause: error,
      hint: `Give ${url} with its scheme: https://…`,
    });
  }
  const variable = VARIABLE_MISSING.exec(message)?.[1];
  if (variable === undefined) return new DmtpError("CONFIGURATION_INVALID", message, { cause: error });
  return new DmtpError("CONFIGURATION_INVALID", `${variable} is not set`, {
    cause: error,
    hint: `Set it as an environment variable, or keep it: npx hardhat keystore set ${variable}`,
  });
}
