import { formatPol } from "../io/chain/transactions/amount.ts";
import { registerData } from "../io/chain/transactions/registry-call.ts";
import { walletOf } from "../io/chain/transactions/writer.ts";
import type { PlannedCall } from "../io/mailbox/registry-calls.ts";
import { checksummed, type Address } from "../protocol/address.ts";
import {
  bindingRequest,
  isBindingSigned,
  normalizeSignature,
  type KeyBinding,
  type Wallet,
} from "../protocol/binding.ts";
import { toHex } from "../protocol/bytes.ts";
import { cidOf, cidOfDigest, digestOfCid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { identityOfSeed, SEED_BYTES } from "../protocol/identity.ts";
import { encodeKeyDocument } from "../protocol/key-document.ts";
import { SALT_BYTES, sealWithPassphrase, sealWithWallet } from "../protocol/sealing.ts";
import { command, type Outcome } from "./command.ts";
import { parseLimits } from "./fee-options.ts";
import { revokeAll } from "./keys-revoke.ts";
import { parseAddressOption } from "./named-option.ts";
import { fromOption } from "./next-command.ts";
import { readNewPassphrase } from "./passphrase.ts";
import {
  DEFAULT_PAYMENT,
  finishOpenCall,
  payForCall,
  withRegistryLock,
  type FinishedCall,
  type PaymentOptions,
} from "./registry-submission.ts";
import type { Session } from "./session.ts";
import { table } from "./terminal.ts";

interface RegisterArguments {
  readonly from: string | undefined;
  readonly passphrase: boolean;
  readonly revokeOld: boolean;
  readonly maxCost: string | undefined;
  readonly json: boolean;
}

interface RegisterOptions extends PaymentOptions {
  /** Whether all keys that the wallet has are revoked first. */
  readonly revokesOld: boolean;
}

/** Time for a relay to bring the binding to the chain; the wallet that registers itself does not need it. */
const BINDING_LIFETIME_S = 7 * 24 * 60 * 60;

export default command<RegisterArguments>(async (session, { from, passphrase, revokeOld, maxCost }) => {
  const options = { ...DEFAULT_PAYMENT, limits: parseLimits({ maxCost }), revokesOld: revokeOld };
  const secret = passphrase ? await readNewPassphrase(process.env) : undefined;
  return register(session, from, secret, options);
});

/**
 * Step 1 of the flow. A wallet that has a key already gets a new version; messages to the old one stay readable. What an earlier run
 * has signed a transaction for is finished, and no second key is made.
 * @throws WALLET_SIGNATURES_VARY, WALLET_SIGNATURE_WRONG, ACCOUNT_UNKNOWN, CONTENT_WRITE_FAILED, and what {@link payForCall} throws
 */
export async function register(
  session: Session,
  from: string | undefined,
  passphrase?: string,
  options: RegisterOptions = { ...DEFAULT_PAYMENT, revokesOld: false },
): Promise<Outcome> {
  const { signer, address } = await session.signer(from === undefined ? undefined : parseAddressOption("--from", from));
  const wallet = await walletOf(signer);
  await session.account(address);
  return withRegistryLock(session, async () => {
    const open = await finishOpenCall(session, address, options);
    if (open?.call.kind === "register" && (!options.revokesOld || (await hasRevokedBelow(session, open)))) {
      return report(open, true);
    }
    if (options.revokesOld) await revokeAll(session, address, options);
    const plan = await makeKey(session, wallet, passphrase);
    session.mailbox.noteOwnWallet(address);
    return report(await payForCall(session, plan, options), false);
  });
}

/** Makes a key, publishes its document, and has the wallet sign the binding. */
async function makeKey(session: Session, wallet: Wallet, passphrase: string | undefined): Promise<PlannedCall> {
  const { deployment, content, reader } = session;
  const { address } = wallet;
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
  const keys = { wallet: address, version, encryptionKey, signingKey };
  const block = encodeKeyDocument({ chainId, keyRegistry, ...keys, sealed });
  const cid = cidOf(block);

  const deadline = Math.floor(session.now() / 1000) + BINDING_LIFETIME_S;
  const binding: KeyBinding = { ...keys, document: digestOfCid(cid), deadline };
  const signature = normalizeSignature(await wallet.signTypedData(bindingRequest(deployment, binding)));
  // By the readers' own rule, and before anything is paid: what they reject would be the wallet's key all the same.
  if (signature === null || !isBindingSigned(deployment, binding, signature)) {
    throw new DmtpError("WALLET_SIGNATURE_WRONG", `the signature over the binding is not by ${checksummed(address)}`);
  }
  // The document goes first: a registered key without its document would be lost for ever if this machine stopped here.
  await content.put([{ cid, bytes: block }]);
  await content.pin([cid]);
  const data = registerData(binding, signature);
  return { wallet: address, kind: "register", version, data, document: cid, sealedWith: sealed.method };
}

/** Whether all versions below a registration are revoked. */
async function hasRevokedBelow({ reader }: Session, { event: { wallet, version } }: FinishedCall): Promise<boolean> {
  if (version === 1) return true;
  return (await reader.walletEvents(wallet)).some(
    (event) => event.kind === "revocation" && event.version === version - 1,
  );
}

function report({ call, event, transaction }: FinishedCall, isResumed: boolean): Outcome {
  if (event.kind !== "key") throw new DmtpError("INTERNAL", "a registration made no key");
  const { version, encryptionKey, signingKey } = event;
  const wallet: Address = event.wallet;
  const document = cidOfDigest(event.document);
  return {
    data: {
      wallet: checksummed(wallet),
      version,
      encryptionKey: toHex(encryptionKey),
      signingKey: toHex(signingKey),
      document,
      sealedWith: call.sealedWith,
      resumed: isResumed,
      transactionHash: event.transactionHash,
      blockNumber: event.blockNumber,
      gasUsed: transaction?.gasUsed.toString() ?? null,
      costWei: transaction?.cost.toString() ?? null,
    },
    text: [
      `registered key ${version} of ${checksummed(wallet)}${isResumed ? ", which an earlier run began" : ""}`,
      table([
        ["sealed with", call.sealedWith === "wallet" ? "the wallet's signature" : "a passphrase"],
        ["document", document],
        ["transaction", event.transactionHash],
        ...(transaction === null ? [] : [["cost", `${formatPol(transaction.cost)} POL`] as const]),
      ]),
    ].join("\n"),
    next: `npx hardhat send${fromOption(wallet)} --to ADDRESS --text "…"`,
  };
}
