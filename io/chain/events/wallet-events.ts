/** One wallet's key history without reading the rest of the chain: the registry says in which block each version came. */
import type { Address } from "../../../protocol/address.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { RegistryEvent } from "../../../protocol/event.ts";
import type { NodePool } from "../agreement/node-pool.ts";
import { keyRegistryInterface } from "../contracts.ts";
import { logsCall, topicOfArgument } from "../rpc/contract-view.ts";
import { parseCount, parseLogs } from "../rpc/parsed-answer.ts";
import { decodeLog, TOPICS } from "./event-decoder.ts";

/**
 * The wallet's registrations and revocations up to a block, by version.
 * @throws CHAIN_UNREACHABLE, CHAIN_INCOMPLETE unless there is one event for each version, CHAIN_DISAGREES
 */
export async function readWalletHistory(
  pool: NodePool,
  wallet: Address,
  blockNumber: number,
): Promise<RegistryEvent[]> {
  const { deployment } = pool.identity;
  const view = { to: deployment.keyRegistry, contract: keyRegistryInterface };
  const [count] = await pool.callViews([{ ...view, name: "versionCount", args: [wallet] }], blockNumber);
  const versions = Array.from({ length: parseCount(count) }, (_, i) => i + 1);
  const keys = await pool.callViews(
    versions.map((version) => ({ ...view, name: "keyOf", args: [wallet, version] })),
    blockNumber,
  );
  const blocks = new Set(
    keys.map((key) => parseCount((key as { readonly registeredAtBlock: unknown }).registeredAtBlock)),
  );

  const topics = [[TOPICS.registered, TOPICS.revoked], null, topicOfArgument(wallet)];
  const filter = { address: deployment.keyRegistry, topics };
  const calls = [...blocks].map((number) => logsCall(filter, number, number));
  const events = await pool.ask(calls, (answers) => {
    return answers.flatMap(parseLogs).map((log) => decodeLog(deployment, log));
  });
  const own = events.filter((event) => event.kind !== "anchor").filter((event) => event.wallet === wallet);
  own.sort((a, b) => a.version - b.version);
  if (own.length !== versions.length || own.some(({ version }, i) => version !== versions[i])) {
    throw new DmtpError("CHAIN_INCOMPLETE", `${own.length} events for ${versions.length} key versions of ${wallet}`);
  }
  return own;
}
