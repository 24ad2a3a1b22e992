/** `npm run indexer`: the service as a process of its own, configured by environment variables (io/environment.ts). */
import { join } from "node:path";

import { CHAIN_OF_SERVICE, ChainClient } from "../io/chain/client.ts";
import { openRpc } from "../io/chain/rpc/open-rpc.ts";
import { openContent } from "../io/content/open.ts";
import { dataFolder } from "../io/data-folder.ts";
import { parseEnvironment } from "../io/environment.ts";
import { requireDeployment, runService } from "../io/service.ts";
import { startIndexerOn } from "./indexer.ts";
import { RpcMeter } from "./metrics/rpc-meter.ts";

await runService(async ({ log, onStop }) => {
  const environment = parseEnvironment(process.env);
  const { contracts, rpcUrls } = requireDeployment(environment);
  const { chainId, finalityDepth, host, port, corsOrigins, pollIntervalMs } = environment;
  const rpcMeter = new RpcMeter();
  const rpcs = rpcUrls.map((url, place) => rpcMeter.meter(openRpc(url), place));
  const chain = await ChainClient.open(rpcs, contracts, { ...CHAIN_OF_SERVICE, chainId, finalityDepth, log });
  const folder = dataFolder(chain.deployment, environment);
  const content = openContent(environment, folder, {
    onFault: ({ code, message }) =>
      log(`${message}; what only this source has shows as missing`, { level: "warning", code }),
  });
  onStop(() => content.close());
  const indexPath = join(folder, "index.sqlite");
  const options = { content, indexPath, host, port, corsOrigins: corsOrigins ?? [], pollIntervalMs, rpcMeter, log };
  const indexer = await startIndexerOn(chain, options);
  onStop(() => indexer.close());
  return `DMTP indexer for chain ${chain.deployment.chainId}: ${indexer.url}`;
});
