/** Logs of the two contracts as the events that the replay takes (protocol/event.ts). */
import { AbiCoder, type Interface } from "ethers/abi";

import { parseAddress } from "../../../protocol/address.ts";
import { fromHex } from "../../../protocol/bytes.ts";
import { cidOfDigest } from "../../../protocol/cid.ts";
import { DmtpError } from "../../../protocol/error.ts";
import { decodeEntryText, type ChainEvent, type Position, type Provenance } from "../../../protocol/event.ts";
import type { Deployment } from "../../../protocol/room.ts";
import { malformed, parseCount, parseWord, type Log } from "../rpc/parsed-answer.ts";
import { cidStoreInterface, keyRegistryInterface, topicOf } from "../contracts.ts";

export const TOPICS = {
  anchored: topicOf(cidStoreInterface, "CIDAnchored"),
  storedVerbatim: topicOf(cidStoreInterface, "CIDStoredVerbatim"),
  registered: topicOf(keyRegistryInterface, "KeyRegistered"),
  revoked: topicOf(keyRegistryInterface, "KeyRevoked"),
} as const;

/** @throws CHAIN_DISAGREES for a log that the contracts can't have written */
export function decodeLog(deployment: Pick<Deployment, "cidStore" | "keyRegistry">, log: Log): ChainEvent {
  const { blockNumber, logIndex, blockHash, transactionHash } = log;
  const place: Position & Provenance = { blockNumber, logIndex, blockHash, transactionHash };
  const [topic] = log.topics;
  try {
    if (log.address === deployment.cidStore && topic === TOPICS.anchored) return decodeAnchored(place, log);
    if (log.address === deployment.cidStore && topic === TOPICS.storedVerbatim) return decodeVerbatim(place, log);
    if (log.address === deployment.keyRegistry && topic === TOPICS.registered) return decodeRegistered(place, log);
    if (log.address === deployment.keyRegistry && topic === TOPICS.revoked) return decodeRevoked(place, log);
  } catch (cause) {
    throw new DmtpError("CHAIN_DISAGREES", `log ${logIndex} of block ${blockNumber} does not decode`, { cause });
  }
  throw malformed("a log that was asked for");
}

/** Both arguments are indexed: nothing is left for an ABI decoder, which takes longer than all the rest of a log. */
function decodeAnchored(place: Position & Provenance, { topics, data }: Log): ChainEvent {
  const [, index, digest] = topics;
  if (index === undefined || digest === undefined || topics.length !== 3 || data !== "0x")
    throw malformed("a log of CIDAnchored");
  const cid = cidOfDigest(fromHex(digest, 32));
  return { kind: "anchor", ...place, index: parseWord(index), cid, text: cid };
}

function decodeVerbatim(place: Position & Provenance, { topics, data }: Log): ChainEvent {
  const [, index] = topics;
  if (index === undefined || topics.length !== 2) throw malformed("a log of CIDStoredVerbatim");
  // Decoded as bytes, which a string is in the ABI: ethers refuses a string that is not UTF-8, and this one must not stop a replay.
  const [bytes] = AbiCoder.defaultAbiCoder().decode(["bytes"], data) as unknown[];
  return { kind: "anchor", ...place, index: parseWord(index), cid: null, ...decodeEntryText(fromHex(String(bytes))) };
}

function decodeRegistered(place: Position & Provenance, log: Log): ChainEvent {
  const event = decode(keyRegistryInterface, "KeyRegistered", log);
  return {
    kind: "key",
    ...place,
    index: parseCount(event.index),
    wallet: parseAddress(event.wallet),
    version: parseCount(event.version),
    encryptionKey: fromHex(String(event.encryptionKey), 32),
    signingKey: fromHex(String(event.signingKey), 32),
    document: fromHex(String(event.document), 32),
    deadline: BigInt(String(event.deadline)),
    signature: fromHex(String(event.signature)),
    hasCode: event.hasCode === true,
  };
}

function decodeRevoked(place: Position & Provenance, log: Log): ChainEvent {
  const { index, wallet, version } = decode(keyRegistryInterface, "KeyRevoked", log);
  return {
    kind: "revocation",
    ...place,
    index: parseCount(index),
    wallet: parseAddress(wallet),
    version: parseCount(version),
  };
}

function decode(contract: Interface, event: string, { topics, data }: Log): Record<string, unknown> {
  const inputs = contract.getEvent(event)?.inputs ?? [];
  // Of topics that are too many, ethers takes the first.
  if (topics.length !== 1 + inputs.filter(({ indexed }) => indexed === true).length)
    throw malformed(`a log of ${event}`);
  return contract.decodeEventLog(event, data, topics).toObject() as Record<string, unknown>;
}
