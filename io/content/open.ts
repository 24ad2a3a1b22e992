import { join } from "node:path";

import type { Environment } from "../environment.ts";
import { EmbeddedStore } from "./embedded.ts";
import { KuboStore } from "./kubo.ts";
import type { ContentStore } from "./store.ts";

/** Kubo when IPFS_API_URL is set; else blocks in `<folder>/blocks`, which need no daemon. Both give the same CIDs. */
export function openContent(environment: Pick<Environment, "ipfsApiUrl">, folder: string): ContentStore {
  const { ipfsApiUrl } = environment;
  return ipfsApiUrl === undefined ? new EmbeddedStore(join(folder, "blocks")) : new KuboStore(ipfsApiUrl);
}
