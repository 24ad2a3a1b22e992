import { readFeeMarket, usualFees } from "../io/chain/fees.ts";
import { sendRegister, walletOf } from "../io/chain/writer.ts";
import { checksummed, parseAddress } from "../protocol/address.ts";
import { bindingRequest, isBindingSigned, normalizeSignature, type KeyBinding } from "../protocol/binding.ts";
import { toHex } from "../protocol/bytes.ts";
import { cidOf, digestOfCid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { identityOfSeed, SEED_BYTES } from "../protocol/identity.ts";
import { encodeKeyDocument } from "../protocol/key-document.ts";
import { SALT_BYTES, sealWithPassphrase, sealWithWallet } from "../protocol/sealing.ts";
import { command, type Outcome } from "./command.ts";
import { readPassphrase } from "./passphrase.ts";
import type { Session } from "./session.ts";
import { table } from "./terminal.ts";

export interface RegisterArguments {
  readonly from: string | undefined;
  readonly passphrase: boolean;
  readonly json: boolean;
}

/** Time for a relay to bring the binding to the chain; the wallet that registers itself does not need it. */
const BINDING_LIFETIME_S = 7 * 24 * 60 * 60;

export default command<RegisterArguments>(async (session, args) => {
  const passphrase = args.passphrase ? await readPassphrase(process.env) : undefined;
  return register(session, args.from, passphrase);
});

/**
 * Step 1 of the flow. A wallet that has a key already gets a new version; messages to the old one stay readable.
 * @throws WALLET_SIGNATURES_VARY, WALLET_SIGNATURE_WRONG, FUNDS_INSUFFICIENT, ACCOUNT_UNKNOWN, CONTENT_WRITE_FAILED
 */
export async function register(session: Session, from: string | undefined, passphrase?: string): Promise<Outcome> {
  const { deployment, content, reader } = session;
  const { signer, address } = await session.signer(from === undefined ? undefined : parseAddress(from));
  const wallet = await walletOf(signer);
  const version = (await reader.walletEvents(address)).length + 1;

  const owner = { deployment, wallet: address, version };
  const seed = session.random(SEED_BYTES);
  const salt = session.random(SALT_BYTES);
  const sealed =
    passphrase === undefined
      ? await sealWithWallet(owner, wallet, seed, salt)
      : sealWithPassphrase(owner, passphrase, seed, salt);
  const { encryptionKey, signingKey } = identityOfSeed(seed);
  const { chainId, keyRegistry } = deployment;
  const block = encodeKeyDocument({
    chainId,
    keyRegistry,
    wallet: address,
    version,
    encryptionKey,
    signingKey,
    sealed,
  });
  const cid = cidOf(block);

  const deadline = Math.floor(session.now() / 1000) + BINDING_LIFETIME_S;
  const binding: KeyBinding = {
    wallet: address,
    version,
    encryptionKey,
    signingKey,
    document: digestOfCid(cid),
    deadline,
  };
  const signature = normalizeSignature(await wallet.signTypedData(bindingRequest(deployment, binding)));
  // By the readers' own rule, and before anything is paid: what they reject would be the wallet's key all the same.
  if (signature === null || !isBindingSigned(deployment, binding, signature)) {
    throw new DmtpError("WALLET_SIGNATURE_WRONG", `the signature over the binding is not by ${checksummed(address)}`);
  }

  // The document goes first: a registered key without its document would be lost for ever if this machine stopped here.
  await content.put([{ cid, bytes: block }]);
  await content.pin([cid]);
  session.mailbox.noteOwnWallet(address);
  // What a library suggests can be less than Polygon's nodes take.
  const fees = usualFees(await readFeeMarket(session.rpc, chainId));
  const receipt = await sendRegister(signer, deployment, binding, signature, fees);
  return {
    data: {
      wallet: checksummed(address),
      version,
      encryptionKey: toHex(encryptionKey),
      signingKey: toHex(signingKey),
      document: cid,
      sealedWith: sealed.method,
      transactionHash: receipt.transactionHash,
      blockNumber: receipt.blockNumber,
      gasUsed: receipt.gasUsed.toString(),
    },
    text: [
      `registered key ${version} of ${checksummed(address)}`,
      table([
        ["sealed with", sealed.method === "wallet" ? "the wallet's signature" : "a passphrase"],
        ["document", cid],
        ["transaction", receipt.transactionHash],
      ]),
      `next: npx hardhat send --to ADDRESS --text "…"`,
    ].join("\n"),
  };
}
