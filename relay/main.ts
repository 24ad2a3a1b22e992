/** `npm run relay`: the relay as a process of its own, configured by environment variables (io/environment.ts). */
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

import { CHAIN_OF_SERVICE, ChainClient } from "../io/chain/client.ts";
import { openRpc } from "../io/chain/rpc/open-rpc.ts";
import { openContent } from "../io/content/open.ts";
import { dataFolder } from "../io/data-folder.ts";
import { parseEnvironment } from "../io/environment.ts";
import { Mailbox } from "../io/mailbox/mailbox.ts";
import { lockProcess } from "../io/process-lock.ts";
import { readRelayKey } from "../io/relay-key.ts";
import { logBug, requireDeployment, runService } from "../io/service.ts";
import { DmtpError } from "../protocol/error.ts";
import type { Policy } from "./intake.ts";
import { startRelay } from "./relay.ts";

await runService(async ({ log, onStop }) => {
  const environment = parseEnvironment(process.env);
  const { contracts, rpcUrls } = requireDeployment(environment);
  const { chainId, finalityDepth, host, relayPort: port, corsOrigins, pollIntervalMs } = environment;
  const { trustedProxies, promiseBlocks, relayPolicy } = environment;
  const policy = relayPolicy === undefined ? undefined : await loadPolicy(relayPolicy);
  const reader = await ChainClient.open(
    rpcUrls.map((url) => openRpc(url)),
    contracts,
    { ...CHAIN_OF_SERVICE, chainId, finalityDepth, log },
  );
  const { deployment } = reader;
  const folder = dataFolder(deployment, environment);
  const lock = lockProcess(resolve(folder, "relay.lock"));
  if (lock === null) throw new DmtpError("DATABASE_BUSY", "another relay runs on this mailbox");
  onStop(() => lock.release());
  const mailbox = Mailbox.open(folder, reader.identity);
  onStop(() => mailbox.close());
  const content = openContent(environment, folder, {
    onFault: ({ code, message }) => log(message, { level: "warning", code }),
  });
  onStop(() => content.close());
  const key = readRelayKey(folder, deployment);
  if (key === null)
    log("there is no relay-key.json, so nothing is promised; npx hardhat relay makes one", { level: "warning" });
  const relay = await startRelay({
    ...{ deployment, mailbox, content, reader, folder, host, port, pollIntervalMs, trustedProxies, log },
    promiser: key === null ? null : { ...key, ...(promiseBlocks !== undefined && { promiseBlocks }) },
    ...(corsOrigins !== undefined && { corsOrigins }),
    ...(policy !== undefined && { policy }),
    onBug: logBug(log),
  });
  onStop(() => relay.close());
  return `DMTP relay for chain ${deployment.chainId}: ${relay.url}`;
});

/** @throws CONFIGURATION_INVALID */
async function loadPolicy(path: string): Promise<Policy> {
  const module: unknown = await import(pathToFileURL(resolve(path)).href).catch((cause: unknown) => {
    throw new DmtpError("CONFIGURATION_INVALID", `RELAY_POLICY: ${path} cannot be loaded`, { cause });
  });
  const policy = (module as { readonly default?: unknown }).default;
  if (typeof policy === "function") return policy as Policy;
  throw new DmtpError("CONFIGURATION_INVALID", `RELAY_POLICY: ${path} has no function as its default export`);
}
