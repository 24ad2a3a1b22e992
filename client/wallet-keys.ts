/** The keys of wallets, as an indexer tells them; every binding is checked here. */
import type { Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { KeyDirectory } from "../protocol/keys.ts";
import type { Deployment } from "../protocol/room.ts";
import type { IndexerClient } from "./indexer.ts";

/** All keys and tombstones of these wallets; that there are no others is the indexer's word. @throws INDEXER_UNREACHABLE, ANSWER_MALFORMED */
export async function readKeys(
  indexer: IndexerClient,
  deployment: Deployment,
  wallets: readonly Address[],
): Promise<KeyDirectory> {
  const keys = new KeyDirectory(deployment);
  for (const wallet of new Set(wallets)) {
    try {
      for await (const { event } of indexer.keys(wallet)) keys.add(event);
    } catch (error) {
      // A wallet without keys.
      if (!(error instanceof DmtpError) || error.code !== "NOT_FOUND") throw error;
    }
  }
  return keys;
}
