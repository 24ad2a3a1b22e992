/** `npm run indexer`: the service, configured by environment variables alone. */
import { readOptions } from "./options.ts";

readOptions({
  command: "npm run indexer",
  about: [
    "Follows the chain, verifies, and serves histories over HTTP. It is configured by environment variables:",
    "",
    "  RPC_URL               nodes, comma-separated, http(s) or ws(s); most of them must agree",
    "  CID_STORE_ADDRESS     the contracts: npx hardhat status prints their addresses",
    "  KEY_REGISTRY_ADDRESS",
    "",
    "and, where the defaults of docs/operator.md do not suit, CHAIN_ID, DMTP_DATA_DIR, IPFS_API_URL, IPFS_API_HEADERS,",
    "CONTENT_SOURCES, HOST, PORT, CORS_ORIGINS, POLL_INTERVAL_MS and FINALITY_DEPTH.",
    "`npx hardhat indexer --network NAME` starts the same service with the network's node and contracts.",
  ].join("\n"),
  options: {},
});

await import("../indexer/main.ts");
