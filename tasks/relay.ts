import { fileURLToPath } from "node:url";

import type { Signer } from "ethers";
import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { readAnchorer, readOwner } from "../io/chain/transactions/anchor-call.ts";
import { walletOf } from "../io/chain/transactions/writer.ts";
import { makeRelayKey, readRelayKey, writeRelayKey } from "../io/relay-key.ts";
import { checksummed, type Address } from "../protocol/address.ts";
import { normalizeSignature } from "../protocol/binding.ts";
import { DmtpError } from "../protocol/error.ts";
import { isKeyAuthorized, relayKeyRequest } from "../protocol/receipt.ts";
import { asDmtpError, reportError } from "./command.ts";
import { promptOnStderr } from "./hardhat-prompts.ts";
import { runToEnd, serviceEnvironment } from "./service-process.ts";
import { openSession, type Session } from "./session.ts";
import { terminal } from "./terminal.ts";

const MAIN = fileURLToPath(new URL("../relay/main.ts", import.meta.url));

/** For how many blocks a key is authorised: three months on Polygon. It is renewed when a quarter of that is left. */
const KEY_BLOCKS = 4_000_000;

/** Starts the relay for the chosen network as a process of its own, which has its own key and no account. */
export default async function startRelay(_args: object, hre: HardhatRuntimeEnvironment): Promise<void> {
  try {
    promptOnStderr(hre);
    const session = await openSession(hre, process.env, terminal);
    await authorizeKey(session);
    const variables = await serviceEnvironment(session, hre, process.env);
    await session.close();
    process.exitCode = await runToEnd(MAIN, variables);
  } catch (error) {
    reportError(asDmtpError(error), false);
  }
}

/**
 * Sees to it that the relay has a key that CIDStore's anchorer or owner, as they are now, has authorised for some time to come.
 * @throws ACCOUNT_UNKNOWN when neither is an account of this network; WALLET_SIGNATURE_WRONG
 */
export async function authorizeKey(session: Session): Promise<void> {
  const { reader, deployment, folder } = session;
  const { block } = await reader.head();
  const anchorer = await readAnchorer(reader, block.number);
  const owner = await readOwner(reader, block.number);
  const known = readRelayKey(folder, deployment);
  if (known !== null) {
    const { authority, fromBlock, toBlock } = known.authorization;
    const isRight = authority === anchorer || authority === owner;
    if (isRight && fromBlock <= block.number && toBlock - block.number > KEY_BLOCKS / 4) return;
  }
  const { signer: account, address: authority } = await findAuthority(session, [anchorer, owner]);
  const made = known === null ? makeRelayKey() : { ...known, signer: known.authorization.signer };
  // From where the same key began: what it promised before is still its promise.
  const fromBlock = known?.authorization.fromBlock ?? block.number;
  const key = { signer: made.signer, fromBlock, toBlock: block.number + KEY_BLOCKS };
  const wallet = await walletOf(account);
  const signature = normalizeSignature(await wallet.signTypedData(relayKeyRequest(deployment, key)));
  if (signature === null || !isKeyAuthorized(deployment, key, signature, authority)) {
    throw new DmtpError("WALLET_SIGNATURE_WRONG", `the authorization is not signed by ${checksummed(authority)}`);
  }
  writeRelayKey(folder, { privateKey: made.privateKey, authorization: { ...key, authority, signature } });
  session.terminal.note(
    `the relay's key ${checksummed(key.signer)} may promise up to block ${key.toBlock}, by the word of ${checksummed(authority)}`,
  );
}

async function findAuthority(
  session: Session,
  authorities: readonly Address[],
): Promise<{ readonly signer: Signer; readonly address: Address }> {
  for (const authority of authorities) {
    try {
      return await session.signer(authority);
    } catch (error) {
      if (!(error instanceof DmtpError) || error.code !== "ACCOUNT_UNKNOWN") throw error;
    }
  }
  const names = authorities.map((authority) => checksummed(authority)).join(" nor ");
  throw new DmtpError(
    "ACCOUNT_UNKNOWN",
    `neither ${names} is an account of this network, and one of them must authorise the relay's key`,
  );
}
