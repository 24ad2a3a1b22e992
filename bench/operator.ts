/** Who anchors: a session as `npx hardhat anchor` opens it, without Hardhat, on a chain of this machine. */
import { keyRegistryInterface } from "../io/chain/contracts.ts";
import { NodeAccount } from "../io/chain/transactions/account.ts";
import { httpRpc } from "../io/chain/rpc/http-rpc.ts";
import { ChainClient } from "../io/chain/client.ts";
import { parseEnvironment } from "../io/environment.ts";
import { parseAddress } from "../protocol/address.ts";
import { toHex } from "../protocol/bytes.ts";
import type { Deployment } from "../protocol/room.ts";
import { deployLocally } from "../scripts/local-deployment.ts";
import { anchorRound } from "../tasks/anchor-round.ts";
import { DEFAULT_OPTIONS } from "../tasks/anchor-options.ts";
import { Session } from "../tasks/session.ts";
import type { Person } from "./conversation.ts";

/** A deployment, and where its mailbox and blocks are: what another process needs to know. */
export interface Post {
  readonly url: string;
  readonly dataDir: string;
  readonly deployment: Deployment;
  /** The anchorer, whose key the node keeps. */
  readonly anchorer: string;
}

/** New contracts on the chain at `url`. */
export async function deployPost(url: string, dataDir: string): Promise<Post> {
  const { open, accounts } = await deployLocally(url, dataDir, () => undefined);
  const session = open();
  const { deployment } = session;
  await session.close();
  return { url, dataDir, deployment, anchorer: accounts[0] ?? "" };
}

/** Registers these people's keys, whose documents are nowhere: the anchorer pays. */
export async function registerAll({ url, deployment, anchorer }: Post, people: readonly Person[]): Promise<void> {
  const rpc = httpRpc(url);
  for (const { event } of people) {
    const { wallet, encryptionKey, signingKey, document, deadline, signature } = event;
    const data = keyRegistryInterface.encodeFunctionData("registerFor", [
      wallet,
      toHex(encryptionKey),
      toHex(signingKey),
      toHex(document),
      deadline,
      toHex(signature),
    ]);
    await rpc.request({
      method: "eth_sendTransaction",
      params: [{ from: anchorer, to: deployment.keyRegistry, data }],
    });
  }
}

/** The caller closes it. */
export async function openSession({ url, dataDir, deployment, anchorer }: Post): Promise<Session> {
  const rpc = httpRpc(url);
  const quiet = (): void => undefined;
  return new Session({
    rpc,
    reader: await ChainClient.open([rpc], deployment, { chainId: deployment.chainId }),
    environment: parseEnvironment({ DMTP_DATA_DIR: dataDir }),
    terminal: { result: quiet, note: quiet, progress: quiet },
    signers: () => Promise.resolve([]),
    accounts: () => Promise.resolve([new NodeAccount(parseAddress(anchorer))]),
  });
}

/** One run of `anchor`: how many messages it anchored, in how many manifests, of what size. */
export async function anchorOnce(post: Post): Promise<{ messages: number; manifests: number; sizeBytes: number }> {
  const session = await openSession(post);
  try {
    const { anchored, error } = await anchorRound(session, DEFAULT_OPTIONS);
    if (error !== undefined) throw error;
    return {
      messages: anchored.reduce((sum, { messages }) => sum + messages, 0),
      manifests: anchored.length,
      sizeBytes: anchored.reduce((sum, { manifest }) => sum + manifest.sizeBytes, 0),
    };
  } finally {
    await session.close();
  }
}
