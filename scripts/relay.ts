/** `npm run relay`: the service, configured by environment variables alone. */
import { readOptions } from "./options.ts";

readOptions({
  command: "npm run relay",
  about: [
    "Takes signed messages over HTTP, keeps them until they are anchored, and promises by when. It is configured by the environment:",
    "",
    "  RPC_URL               nodes, comma-separated, http(s) or ws(s); most of them must agree",
    "  CID_STORE_ADDRESS     the contracts: npx hardhat status prints their addresses",
    "  KEY_REGISTRY_ADDRESS",
    "",
    "and, where the defaults of docs/operator.md do not suit, by the other variables there. Its key has to be authorised first:",
    "`npx hardhat relay --network NAME` does that, and starts the same service with the network's node and contracts.",
  ].join("\n"),
  options: {},
});

await import("../relay/main.ts");
