import { join, resolve } from "node:path";

import { DmtpError } from "../protocol/error.ts";
import type { Deployment } from "../protocol/room.ts";
import { makeFolder } from "./durable-folder.ts";
import type { Environment } from "./environment.ts";

/**
 * The folder for one deployment's data, made when it is not there yet, for its owner's eyes only. It names both contracts, so
 * that two deployments on one chain never mix.
 * @throws DATABASE_WRITE_FAILED
 */
export function dataFolder(deployment: Deployment, environment: Pick<Environment, "dataDir">): string {
  const { chainId, cidStore, keyRegistry } = deployment;
  const base = environment.dataDir ?? join(".dmtp", String(chainId));
  const folder = resolve(base, `${cidStore.slice(2, 10)}-${keyRegistry.slice(2, 10)}`);
  try {
    makeFolder(folder, 0o700);
  } catch (cause) {
    throw new DmtpError("DATABASE_WRITE_FAILED", `the folder ${folder} cannot be made`, { cause });
  }
  return folder;
}
