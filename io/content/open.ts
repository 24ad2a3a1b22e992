import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

import { DmtpError } from "../../protocol/error.ts";
import type { Environment } from "../environment.ts";
import { CarFileSource, CarUrlSource } from "./car-source.ts";
import { hasBlockFile } from "./block-file.ts";
import { EmbeddedStore } from "./embedded.ts";
import { GatewaySource } from "./gateway.ts";
import { KuboStore } from "./kubo.ts";
import { ReplicatedStore, type ReplicatedOptions } from "./replicated.ts";
import { SOURCES_HINT } from "./source-fault.ts";
import type { ContentSource, ContentStore } from "./store.ts";

/**
 * Kubo when IPFS_API_URL is set; else blocks in `<folder>/blocks`, which need no daemon. Both give the same CIDs. CONTENT_SOURCES are
 * read from as well, and the folder where it has blocks.
 * @throws CONFIGURATION_INVALID
 */
export function openContent(
  { ipfsApis, contentSources }: Pick<Environment, "ipfsApis" | "contentSources">,
  folder: string,
  options: ReplicatedOptions = {},
): ContentStore {
  const embedded = new EmbeddedStore(join(folder, "blocks"));
  if (ipfsApis.length === 0 && contentSources.length === 0) return embedded;
  const replicas = ipfsApis.map(({ url, headers }) => new KuboStore(url, { headers }));
  const others = contentSources.map(openSource);
  // Where blocks were put before there was a Kubo, they are still.
  if (replicas.length > 0 && hasBlockFile(embedded.folder)) others.unshift(embedded);
  return new ReplicatedStore(replicas.length === 0 ? [embedded] : replicas, others, options);
}

/**
 * A source by its name in CONTENT_SOURCES: `https://…` is a trustless gateway, `https://….car` a CAR file there, `kubo+https://…`
 * Kubo's RPC API; a path or `file:` URL that ends in `.car` is a CAR file, another the folder of an embedded store.
 * @throws CONFIGURATION_INVALID
 */
export function openSource(name: string): ContentSource {
  const kubo = /^kubo\+(https?:.*)$/i.exec(name)?.[1];
  if (kubo !== undefined && URL.canParse(kubo)) return new KuboStore(new URL(kubo), { hint: SOURCES_HINT });
  if (/^https?:/i.test(name) && URL.canParse(name)) {
    const url = new URL(name);
    return url.pathname.endsWith(".car") ? new CarUrlSource(url) : new GatewaySource(url);
  }
  if (/^file:/i.test(name) && URL.canParse(name)) return openPath(fileURLToPath(name));
  if (isAbsolute(name) || /^[\w.~-]+(?:[/\\]|$)/.test(name)) return openPath(name);
  throw new DmtpError(
    "CONFIGURATION_INVALID",
    "CONTENT_SOURCES has an entry that is no http, kubo+http or file URL and no path",
  );
}

function openPath(path: string): ContentSource {
  return path.endsWith(".car") ? new CarFileSource(path) : new EmbeddedStore(path);
}
