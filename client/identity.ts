/** Keys as a sender needs them: a receiver's, checked before it is used, and one's own, opened with the wallet. */
import { checksummed, ZERO_ADDRESS, type Address } from "../protocol/address.ts";
import { cidOfDigest, type Cid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import type { KeyEvent } from "../protocol/event.ts";
import { identityOfSeed, type Identity } from "../protocol/identity.ts";
import { checkKeyDocument, decodeKeyDocument, type KeyDocument } from "../protocol/key-document.ts";
import type { KeyDirectory, KeyVersion } from "../protocol/keys.ts";
import type { Party } from "../protocol/message.ts";
import { equal } from "../protocol/bytes.ts";
import type { Deployment } from "../protocol/room.ts";
import { openSealedSeed, type Opener, type SealedSeed } from "../protocol/sealing.ts";

/** Where key documents are got from: blocks that are what their CIDs name; null for one that nobody has. */
export interface DocumentSource {
  get(cid: Cid): Promise<Uint8Array | null>;
}

/** One's own key version, opened. */
export interface OpenedKey {
  /** Its registration. */
  readonly event: KeyEvent;
  readonly identity: Identity;
  readonly party: Party;
}

/**
 * The receiver's key, after every check of step 2 of the flow: registered, not revoked, bound by its wallet, admissible, and
 * with a key document that says the same.
 * @throws RECEIVER_ZERO, RECEIVER_IS_SENDER, RECEIVER_UNREGISTERED, RECEIVER_REVOKED, RECEIVER_KEY_INVALID, CONTENT_MISSING
 */
export async function findReceiver(
  keys: KeyDirectory,
  deployment: Deployment,
  content: DocumentSource,
  sender: Address,
  receiver: Address,
): Promise<Party> {
  const name = checksummed(receiver);
  if (receiver === ZERO_ADDRESS) throw new DmtpError("RECEIVER_ZERO", "the receiver is the zero address");
  if (receiver === sender) throw new DmtpError("RECEIVER_IS_SENDER", "sender and receiver are the same wallet");
  const lookup = keys.current(receiver);
  if (lookup.status === "unknown") throw new DmtpError("RECEIVER_UNREGISTERED", `${name} has no DMTP key`);
  if (lookup.status === "revoked") throw new DmtpError("RECEIVER_REVOKED", `${name} has revoked its key`);
  if (lookup.status === "rejected") {
    const { verdict } = lookup.key;
    const reason = verdict.status === "rejected" ? `${verdict.code}, ${verdict.reason}` : verdict.status;
    throw new DmtpError("RECEIVER_KEY_INVALID", `the registered key of ${name} is not valid: ${reason}`);
  }
  await fetchKeyDocument(deployment, content, lookup.key, "RECEIVER_KEY_INVALID");
  return partyOf(lookup.key);
}

/**
 * The receivers' keys for which the chain alone vouches, unless the user has accepted them before.
 * @param accepted the wallets whose keys the user accepts now, each by its address
 * @throws RECEIVER_KEY_UNSIGNED for any other
 */
export function findUnsigned(
  keys: KeyDirectory,
  receivers: Iterable<Address>,
  hasAccepted: (key: KeyEvent) => boolean,
  accepted: readonly Address[],
): KeyEvent[] {
  const unsigned: KeyEvent[] = [];
  for (const receiver of receivers) {
    const lookup = keys.current(receiver);
    if (lookup.status !== "usable" || lookup.key.binding === "signature" || hasAccepted(lookup.key.event)) continue;
    if (!accepted.includes(receiver)) {
      const { version } = lookup.key.event;
      const what = `no signature of ${checksummed(receiver)} stands behind its key ${version}: that it is the key of a contract wallet is the nodes' word alone`;
      throw new DmtpError("RECEIVER_KEY_UNSIGNED", what);
    }
    unsigned.push(lookup.key.event);
  }
  return unsigned;
}

/**
 * Opens the sender's current key.
 * @throws SENDER_UNREGISTERED, SENDER_REVOKED, SEALED_KEY_UNOPENED, WALLET_SIGNATURE_WRONG, CONTENT_MISSING
 */
export async function openOwnKey(
  keys: KeyDirectory,
  deployment: Deployment,
  content: DocumentSource,
  wallet: Address,
  opener: OpenerSource,
): Promise<OpenedKey> {
  const lookup = keys.current(wallet);
  const name = checksummed(wallet);
  if (lookup.status === "unknown") throw new DmtpError("SENDER_UNREGISTERED", `${name} has no DMTP key`);
  if (lookup.status === "revoked") throw new DmtpError("SENDER_REVOKED", `${name} has revoked its key`);
  return openKey(deployment, content, lookup.key, opener);
}

/**
 * Opens one key version of one's own.
 * @throws SEALED_KEY_UNOPENED, WALLET_SIGNATURE_WRONG, CONTENT_MISSING, KEY_DOCUMENT_MISMATCH, KEY_DOCUMENT_MALFORMED
 */
export async function openKey(
  deployment: Deployment,
  content: DocumentSource,
  key: KeyVersion,
  opener: OpenerSource,
): Promise<OpenedKey> {
  const { sealed, wallet, version } = await fetchKeyDocument(deployment, content, key);
  const chosen = typeof opener === "function" ? await opener(sealed.method) : opener;
  const identity = identityOfSeed(await openSealedSeed({ deployment, wallet, version }, sealed, chosen));
  if (!equal(identity.encryptionKey, key.event.encryptionKey) || !equal(identity.signingKey, key.event.signingKey)) {
    throw new DmtpError("KEY_DOCUMENT_MISMATCH", "the sealed key is not the registered one");
  }
  return { event: key.event, identity, party: partyOf(key) };
}

/** One opener for every key version, or one for each way to seal a key, asked for when a key is met that was sealed so. */
export type OpenerSource = Opener | ((method: SealedSeed["method"]) => Promise<Opener>);

/** @throws CONTENT_MISSING; KEY_DOCUMENT_MISMATCH and the decoder's codes, or `code` in their place */
async function fetchKeyDocument(
  deployment: Deployment,
  content: DocumentSource,
  { event }: KeyVersion,
  code?: "RECEIVER_KEY_INVALID",
): Promise<KeyDocument> {
  const cid = cidOfDigest(event.document);
  const block = await content.get(cid);
  if (block === null) {
    throw new DmtpError(
      "CONTENT_MISSING",
      `the key document of ${checksummed(event.wallet)} (${cid}) is not reachable`,
    );
  }
  try {
    const document = decodeKeyDocument(block);
    checkKeyDocument(document, deployment, event);
    return document;
  } catch (cause) {
    if (code === undefined || !(cause instanceof DmtpError)) throw cause;
    const what = `the key document of ${checksummed(event.wallet)} is not valid: ${cause.code}, ${cause.message}`;
    throw new DmtpError(code, what, { cause });
  }
}

function partyOf({ event }: KeyVersion): Party {
  return { wallet: event.wallet, version: event.version, encryptionKey: event.encryptionKey };
}
