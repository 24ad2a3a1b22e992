/** Whether a file's history is that of the deployment which it is held against. */
import type { CarFileSource } from "../io/content/car-source.ts";
import { checksummed } from "../protocol/address.ts";
import { decodeArchive } from "../protocol/archive.ts";
import { DmtpError } from "../protocol/error.ts";
import { isSameDeployment, type Deployment } from "../protocol/room.ts";

/** @throws ARCHIVE_UNTRUE unless they are the same */
export function requireDeployment(name: string, theirs: Deployment, own: Deployment): void {
  if (isSameDeployment(theirs, own)) return;
  const { chainId, cidStore, keyRegistry } = theirs;
  throw new DmtpError(
    "ARCHIVE_UNTRUE",
    `${name} is of chain ${chainId}, CIDStore ${checksummed(cidStore)}, KeyRegistry ${checksummed(keyRegistry)}`,
    { hint: "Choose its --network, or its CID_STORE_ADDRESS and KEY_REGISTRY_ADDRESS." },
  );
}

/**
 * Refuses an archive of another deployment, of which nothing would be asked here. A CAR that is no archive says nothing of a deployment.
 * @throws ARCHIVE_UNTRUE, and what reading the file throws
 */
export async function requireOwnBlocks(file: CarFileSource, own: Deployment): Promise<void> {
  // An archive ends with the block that describes it.
  const seen: { last: Uint8Array | null } = { last: null };
  await file.load({ onBlock: (_cid, bytes) => (seen.last = bytes) });
  const theirs = seen.last === null ? null : deploymentIn(seen.last);
  if (theirs !== null) requireDeployment(file.name, theirs, own);
}

function deploymentIn(block: Uint8Array): Deployment | null {
  try {
    return decodeArchive(block).deployment;
  } catch (error) {
    if (error instanceof DmtpError) return null;
    throw error;
  }
}
