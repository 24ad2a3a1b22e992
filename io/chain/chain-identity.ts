/** What tells one chain with one deployment from every other, also from one with the same chain id and addresses. */
import { fromHex, toHex, type Hex } from "../../protocol/bytes.ts";
import { primitives } from "../../protocol/crypto/provider.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Deployment } from "../../protocol/room.ts";
import { parseBlock } from "./answer.ts";
import { CHAIN_ID, contractCalls, judgeContracts, requireChainId, type Contracts } from "./contract-check.ts";
import type { Endpoint } from "./endpoint.ts";
import { attempt, resultOf, type Rpc } from "./rpc.ts";
import { headerCall } from "./stretch.ts";

export interface ChainIdentity {
  readonly deployment: Deployment;
  /** The first block that can hold an event of either contract. */
  readonly startBlock: number;
  /** The hash of block 0; `0x` where the node does not have it. */
  readonly genesis: Hex;
  /** SHA-256 of each contract's code, in which its deployment block stands. */
  readonly codes: readonly [cidStore: Hex, keyRegistry: Hex];
}

/**
 * What a node says of itself, in one request.
 * @throws CHAIN_UNREACHABLE, CHAIN_ID_WRONG, CHAIN_DISAGREES, CONTRACT_MISSING, CONTRACT_WRONG
 */
export async function readIdentity(rpc: Rpc, contracts: Contracts, expectedChainId?: number): Promise<ChainIdentity> {
  const [id, first, ...answers] = await attempt(rpc, [CHAIN_ID, headerCall(0), ...contractCalls(contracts)]);
  const { cidStore, keyRegistry } = contracts;
  const deployment: Deployment = {
    chainId: requireChainId(rpc.name, resultOf(id), expectedChainId),
    cidStore,
    keyRegistry,
  };
  const { startBlock, codes } = judgeContracts(deployment, answers);
  const [storeCode, registryCode] = codes.map((code) => toHex(primitives.sha256(fromHex(code))));
  // A node that was started from a snapshot may have no block 0, and some say so by an error.
  const genesis = first === undefined || "error" in first ? null : parseBlock(first.result ?? null);
  return { deployment, startBlock, genesis: genesis?.hash ?? "0x", codes: [storeCode ?? "0x", registryCode ?? "0x"] };
}

/** Whether two nodes serve the same deployment on the same chain, as far as both know. */
export function isSameChain(a: ChainIdentity, b: ChainIdentity): boolean {
  const isGenesisSame = a.genesis === "0x" || b.genesis === "0x" || a.genesis === b.genesis;
  const rest = ({ deployment, startBlock, codes }: ChainIdentity): string => {
    return JSON.stringify([deployment.chainId, deployment.cidStore, deployment.keyRegistry, startBlock, codes]);
  };
  return isGenesisSame && rest(a) === rest(b);
}

/**
 * The identity that every node has that answers; one that does not is put off.
 * @throws CHAIN_UNREACHABLE when none answers; CHAIN_ID_WRONG, CONTRACT_MISSING, CONTRACT_WRONG, CHAIN_DISAGREES
 */
export async function identify(
  endpoints: readonly Endpoint[],
  contracts: Contracts,
  expectedChainId?: number,
): Promise<ChainIdentity> {
  if (endpoints.length === 0) throw new DmtpError("CONFIGURATION_INVALID", "no RPC URL is given");
  let identity: ChainIdentity | null = null;
  const reasons: DmtpError[] = [];
  const found = await Promise.all(
    endpoints.map(async (endpoint) => {
      try {
        return { endpoint, own: await readIdentity(endpoint.rpc, contracts, expectedChainId) };
      } catch (error) {
        if (!(error instanceof DmtpError))
          throw new DmtpError("INTERNAL", "a node was asked wrongly", { cause: error });
        if (error.code !== "CHAIN_UNREACHABLE") throw error;
        endpoint.rest();
        reasons.push(error);
        return { endpoint, own: null };
      }
    }),
  );
  for (const { endpoint, own } of found) {
    if (own === null) continue;
    if (identity !== null && !isSameChain(identity, own)) {
      throw new DmtpError("CHAIN_DISAGREES", `${endpoints[0]?.name ?? ""} and ${endpoint.name} serve two chains`);
    }
    identity = own;
    endpoint.isChecked = true;
  }
  if (identity === null) throw reasons[0] ?? new DmtpError("CHAIN_UNREACHABLE", "no node answers");
  return identity;
}
