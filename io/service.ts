/** What a service of this project is as a process: one log, one stop, and an exit status that says whether to start it again. */
import { DmtpError, toDmtpError } from "../protocol/error.ts";
import { findHint } from "../protocol/hint.ts";
import type { Contracts } from "./chain/agreement/contract-check.ts";
import type { Environment } from "./environment.ts";
import { EXIT_CODES } from "./exit-codes.ts";
import { openLog, readLogSettings, type Log } from "./log.ts";

export interface ServiceProcess {
  readonly log: Log;
  /** What is to be closed when the process ends, the last first. */
  readonly onStop: (close: () => void | Promise<void>) => void;
}

/**
 * Starts a service, and ends it with SIGINT or SIGTERM, or with the process that started it.
 * @param serve opens everything; resolves when the service listens, to the line that says so
 */
export async function runService(serve: (service: ServiceProcess) => Promise<string>): Promise<void> {
  const log = openLog({ ...readLogSettings(process.env), write: (text) => void process.stderr.write(text) });
  const closers: (() => void | Promise<void>)[] = [];
  const stop = async (): Promise<never> => {
    for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close();
    // Not by itself: what is still asked of a node would keep the process for as long as the node takes.
    process.exit();
  };
  const fail = async (error: unknown): Promise<never> => {
    const known = toDmtpError(error);
    const { code, message, kind } = known;
    log(message, { level: "error", code, hint: findHint(known), ...(kind === "bug" && { cause: error }) });
    process.exitCode = EXIT_CODES[kind];
    return stop();
  };
  // Who starts a service as a child holds a channel to it, which breaks when that process is killed: nobody would end this one then.
  process.once("disconnect", () => void stop().catch(fail));
  for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => void stop().catch(fail));
  try {
    process.stdout.write(`${await serve({ log, onStop: (close) => closers.push(close) })}\n`);
  } catch (error) {
    await fail(error);
  }
}

/** Logs a request that a defect of the service ended. */
export function logBug(log: Log): (request: string, error: DmtpError) => void {
  return (request, { code, message, cause }) => {
    log(`${request}: ${message}`, { level: "error", code, ...(cause !== undefined && { cause }) });
  };
}

/** Where the contracts are, and who is asked about them. @throws CONFIGURATION_INVALID that names what is missing */
export function requireDeployment({ cidStore, keyRegistry, rpcUrls }: Environment): {
  readonly contracts: Contracts;
  readonly rpcUrls: readonly string[];
} {
  const missing = [
    ...(cidStore === undefined ? ["CID_STORE_ADDRESS"] : []),
    ...(keyRegistry === undefined ? ["KEY_REGISTRY_ADDRESS"] : []),
    ...(rpcUrls.length === 0 ? ["RPC_URL"] : []),
  ];
  if (cidStore === undefined || keyRegistry === undefined || missing.length > 0) {
    const verb = missing.length === 1 ? "is" : "are";
    throw new DmtpError("CONFIGURATION_INVALID", `${missing.join(", ")} ${verb} not set`, {
      hint: "npx hardhat status --network NAME prints the addresses; npx hardhat indexer or npx hardhat relay, with --network NAME, sets all of it.",
    });
  }
  return { contracts: { cidStore, keyRegistry }, rpcUrls };
}
