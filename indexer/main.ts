/** `npm run indexer`: the service as a process of its own, configured by environment variables (io/environment.ts). */
import { join } from "node:path";

import { ChainClient } from "../io/chain/client.ts";
import { openRpc } from "../io/chain/rpc/open-rpc.ts";
import { openContent } from "../io/content/open.ts";
import { dataFolder } from "../io/data-folder.ts";
import { parseEnvironment, type Environment } from "../io/environment.ts";
import { DmtpError, type ErrorKind } from "../protocol/error.ts";
import { findHint } from "../protocol/hint.ts";
import { CHAIN_OF_SERVICE, startIndexerOn } from "./indexer.ts";
import { logStack, openLog } from "./log.ts";
import { RpcMeter } from "./metrics/rpc-meter.ts";

/** sysexits.h; 75 says that starting again can help. */
const EXIT_CODES: Readonly<Record<ErrorKind, number>> = { input: 1, integrity: 65, unavailable: 75, bug: 70 };

const log = openLog((text) => void process.stderr.write(text));

/** What is open, in the order of opening. */
const closers: (() => Promise<void>)[] = [];

async function serve(): Promise<void> {
  const environment = parseEnvironment(process.env);
  const { cidStore, keyRegistry, rpcUrls, chainId, finalityDepth } = environment;
  const { host, port, corsOrigins, pollIntervalMs } = environment;
  if (cidStore === undefined || keyRegistry === undefined || rpcUrls.length === 0) throw incomplete(environment);
  const rpcMeter = new RpcMeter();
  const rpcs = rpcUrls.map((url, place) => rpcMeter.meter(openRpc(url), place));
  const chain = await ChainClient.open(
    rpcs,
    { cidStore, keyRegistry },
    { ...CHAIN_OF_SERVICE, chainId, finalityDepth, log },
  );
  const folder = dataFolder(chain.deployment, environment);
  const content = openContent(environment, folder, {
    onFault: ({ code, message }) => log(`warning[${code}]: ${message}; what only this source has shows as missing`),
  });
  closers.push(() => content.close());
  const indexPath = join(folder, "index.sqlite");
  const indexer = await startIndexerOn(chain, {
    content,
    indexPath,
    host,
    port,
    corsOrigins,
    pollIntervalMs,
    rpcMeter,
    log,
  });
  closers.push(() => indexer.close());
  process.stdout.write(`DMTP indexer for chain ${chain.deployment.chainId}: ${indexer.url}\n`);
}

async function stop(): Promise<never> {
  for (let close = closers.pop(); close !== undefined; close = closers.pop()) await close();
  // Not by itself: what is still asked of a node would keep the process for as long as the node takes.
  process.exit();
}

async function fail(error: unknown): Promise<never> {
  const known = error instanceof DmtpError ? error : new DmtpError("INTERNAL", "an unexpected error", { cause: error });
  log(`error[${known.code}]: ${known.message}`);
  log(`hint: ${findHint(known)}`);
  if (known.kind === "bug") logStack(log, error);
  process.exitCode = EXIT_CODES[known.kind];
  return stop();
}

function incomplete({ cidStore, keyRegistry }: Environment): DmtpError {
  const name =
    cidStore === undefined ? "CID_STORE_ADDRESS" : keyRegistry === undefined ? "KEY_REGISTRY_ADDRESS" : "RPC_URL";
  return new DmtpError("CONFIGURATION_INVALID", `${name} is not set`);
}

for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => void stop().catch(fail));
await serve().catch(fail);
