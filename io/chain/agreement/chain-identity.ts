/** What tells one chain with one deployment from every other, also from one with the same chain id and addresses. */
import { fromHex, toHex, type Hex } from "../../../protocol/bytes.ts";
import { primitives } from "../../../protocol/crypto/provider.ts";
import { DmtpError } from "../../../protocol/error.ts";
import type { Deployment } from "../../../protocol/room.ts";
import { parseBlock, parseHash, type Block } from "../rpc/parsed-answer.ts";
import { CHAIN_ID, contractCalls, judgeContracts, requireChainId, type Contracts } from "./contract-check.ts";
import type { Endpoint } from "../rpc/endpoint.ts";
import { isObject } from "../rpc/rpc-answer.ts";
import { attempt, resultOf, type Rpc, type RpcAnswer } from "../rpc/rpc.ts";
import { headerCall } from "../events/block-range.ts";

export interface ChainIdentity {
  readonly deployment: Deployment;
  /** The first block that can hold an event of either contract. */
  readonly startBlock: number;
  /** The hash of block 0; `0x` where the node does not have it. */
  readonly genesis: Hex;
  /** The hash of the start block; `0x` where the node does not have it or does not call it final. */
  readonly startBlockHash: Hex;
  /** Names the fork of a chain that a development node made for a rehearsal; `0x` for a chain itself. */
  readonly fork: Hex;
  /** SHA-256 of each contract's code, in which its deployment block stands. */
  readonly codes: readonly [cidStore: Hex, keyRegistry: Hex];
}

/**
 * What a node says of itself.
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
  const genesis = blockOf(first)?.hash ?? "0x";
  const [startBlockHash, fork] = await Promise.all([readFinalHash(rpc, startBlock), readFork(rpc)]);
  const codeHashes: ChainIdentity["codes"] = [storeCode ?? "0x", registryCode ?? "0x"];
  return { deployment, startBlock, genesis, startBlockHash, fork, codes: codeHashes };
}

/** Of a block that no reorg replaces any more; `0x` for any other, and where the node can't tell. */
async function readFinalHash(rpc: Rpc, number: number): Promise<Hex> {
  const [block, finalized] = (await attempt(rpc, [headerCall(number), headerCall("finalized")])).map(blockOf);
  return block?.number === number && (finalized?.number ?? -1) >= number ? block.hash : "0x";
}

/**
 * Anvil and Hardhat's network say whether they forked another chain. Blocks up to the fork are those of that chain, so no hash of
 * them tells. Any other node refuses the method, in whatever way.
 */
async function readFork(rpc: Rpc): Promise<Hex> {
  const [answer] = await attempt(rpc, [{ method: "hardhat_metadata", params: [] }]).catch(() => []);
  if (answer === undefined || "error" in answer) return "0x";
  const { forkedNetwork, instanceId } = isObject(answer.result) ? answer.result : {};
  return isObject(forkedNetwork) ? parseHash(instanceId) : "0x";
}

function blockOf(answer: RpcAnswer | undefined): Block | null {
  return answer === undefined || "error" in answer ? null : parseBlock(answer.result ?? null);
}

/** Whether two nodes serve the same deployment on the same chain, as far as both know. */
export function isSameChain(a: ChainIdentity, b: ChainIdentity): boolean {
  const rest = ({ deployment, startBlock, codes, fork }: ChainIdentity): string => {
    return JSON.stringify([deployment.chainId, deployment.cidStore, deployment.keyRegistry, startBlock, codes, fork]);
  };
  return isNotOther(a.genesis, b.genesis) && isNotOther(a.startBlockHash, b.startBlockHash) && rest(a) === rest(b);
}

function isNotOther(a: Hex, b: Hex): boolean {
  return a === "0x" || b === "0x" || a === b;
}

/**
 * The identity that all nodes have that answer; one that does not is put off.
 * @throws CHAIN_UNREACHABLE when none answers, or when one does not and each is needed; CHAIN_ID_WRONG, CONTRACT_MISSING,
 *   CONTRACT_WRONG, CHAIN_DISAGREES
 */
export async function identify(
  endpoints: readonly Endpoint[],
  contracts: Contracts,
  { chainId, isEachNeeded }: { readonly chainId: number | undefined; readonly isEachNeeded: boolean },
): Promise<ChainIdentity> {
  if (endpoints.length === 0) throw new DmtpError("CONFIGURATION_INVALID", "no RPC URL is given");
  let identity: ChainIdentity | null = null;
  const reasons: DmtpError[] = [];
  const found = await Promise.all(
    endpoints.map(async (endpoint) => {
      try {
        return { endpoint, own: await readIdentity(endpoint.rpc, contracts, chainId) };
      } catch (error) {
        if (!(error instanceof DmtpError))
          throw new DmtpError("INTERNAL", "a node was asked wrongly", { cause: error });
        if (error.code !== "CHAIN_UNREACHABLE" || isEachNeeded) throw error;
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
