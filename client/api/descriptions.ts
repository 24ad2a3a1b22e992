/**
 * What the shapes and members of the API mean, for its document. Apart from the shapes, so that a page which checks answers does not load
 * these words.
 *
 * A key is the name of a shape, with the names of members behind it where one is meant; lists and alternatives add nothing to it. `Room.n`
 * holds for `RoomDetail.n` as well. A member that means the same wherever it stands has its own name as the key.
 */
export const DESCRIPTIONS: Readonly<Record<string, string>> = {
  Hash: "32 bytes, 0x-prefixed lower-case hexadecimal",
  Address: "A wallet or contract, lower-case",
  RoomId: "SPEC 5.1: a hash over deployment and wallets",
  Cid: "CIDv1, dag-cbor, sha2-256, base32 lower-case",
  Verdict: "`verified` and `rejected` are final; `missing` says that a block is not reachable yet",
  Height: "The block up to which an answer is true; null before the first block was read",
  Counts: "How many, by verdict",
  code: "One of the codes of SPEC 9; codes never change",
  binding: "How a key is known to be the wallet's: by its own signature, or by the chain's word alone",
  final: "Whether the chain calls the block final: until then, a reorg may take it back",
  logIndex: "The log's place in its block",

  Message:
    "One place in a room's history. Members that only the envelope says are null while it is missing, and for what is no envelope.",
  "Message.senderKeyVersion": "Of the key that it is signed with",
  "Message.receiverKeyVersion": "Of the key that it is sealed for",
  "Message.seq": "The sender's own count in the room under that key version",
  "Message.timestamp": "Milliseconds since 1970, by the sender's clock: a claim",
  "Message.binding": "Of the sender's key, at its anchor; null where there was no such key, or the room is another",
  "Message.accounted":
    "Whether its anchor is verified: only then do the room's count and root, and the state, account for it",
  "Message.ordinal": "8,192 times the number of its shard, plus its place in that",
  "Message.block": "The envelope in base64, with `include=block`; null while missing",

  Room: "A room, without what is missing of it",
  RoomDetail: "A room, and what is missing of it",
  RoomState: "What the state at the tip has of the room, at the height that the answer names",
  "Room.members": "Its two wallets, ascending; empty until a message names them",
  n: "Its messages at the tip; null when the tip does not have the room",
  root: "RFC 9162 root over them",
  lastAnchor: "The anchor that touched it last, at the tip",
  SequenceNumber: "Each key version of a sender counts its messages in the room from 1",
  "RoomDetail.omissions.gaps": "Numbers that no message has, below the highest of that key version; at most 100",
  "RoomDetail.omissions.forks": "Numbers that more than one message has; at most 100",
  "RoomDetail.omissions.unseen": "Messages that a sender had seen and the room does not hold; at most 100",
  "RoomDetail.lacks.messages": "Its messages that no source has now; at most 100 are named",
  "RoomDetail.lacks.anchors": "Undecided anchors, which may list more messages of it; at most 100 are named",

  Anchor: "One text that CIDStore keeps, and what its manifest says",
  AnchorDetail: "An anchor, with the links of its manifest and what is missing of it",
  "Anchor.cid": "Null for a text that is not a DMTP CID",
  "Anchor.text": "As it was stored",
  "Anchor.counts": "Its messages, by verdict",
  "Anchor.manifest.base": "The anchor that it builds on",
  "Anchor.manifest.prev": "That anchor's CID",
  "Anchor.manifest.count": "Messages in its shards, as it says",
  "Anchor.manifest.state": "The state root after it, as it says",
  "AnchorDetail.lacks": "Its own blocks that no source has now",

  Key: "A key version, or a tombstone that revokes every version before it",
  CurrentKey: "The wallet's newest key",
  "Key.index": "Counts all events of the registry",
  "Key.encryptionKey": "X25519",
  "Key.signingKey": "Ed25519",
  "Key.document": "The key document",
  "Key.deadline": "Unix seconds, as text: the contract allows any uint256",
  "Key.signature": "The wallet's, over the binding (SPEC 3.3), as it was registered",
  "Key.hasCode": "Whether the wallet was a contract, or carried code, when it registered",
  "Key.verdict": "Of the key",
  "Key.documentVerdict": "Of its key document",

  WalletKey: "A wallet's key or tombstone",
  Reorg: "Blocks were taken back",
  "Reorg.to": "The last block that still stands; null: none. What lay above it is taken back",
  "Reorg.depth": "Blocks that were taken back",
  "Reorg.cause": "The chain changed; or a node had left something out of it",
  HeightEvent: "All events so far have been sent, up to this block; what is final now",
  Reset: "The position is not known here: read the lists again; what follows is new",

  Status: "Deployment, heights, counts, tip and state root",
  "Status.problem": "What keeps it from being ready",
  "Status.alarm":
    "Set for good when a final block changed: no later block is called final. Also set while less is called final than was",
  "Status.head": "The chain as last seen",
  "Status.finalityStalledSeconds": "Set while nothing more became final for over a minute, though the chain went on",
  "Status.lag": "From the index to the head",
  "Status.tip": "The verified manifest with the highest index",
  "Status.content.reachable": "Whether the content store answered the last time",
  "Status.content.missing": "Blocks that are lacking",
  "Status.content.retrying": "Those among them that no source had when they were asked for",
  "Status.content.sources":
    "Each content source in the order of the configuration; none where blocks lie in a folder only",
  "Status.content.sources.state": "`suspended`: not asked for a while, after faults of its own",
  "Status.content.sources.faults": "How often it failed, by the kind of failure",
  "Status.content.sources.latencyMs": "Of the blocks that it gave, in the mean",

  Problem: "RFC 9457",
};

/** @param path the names of the shape and of the members that lead to one of its parts; of a shape alone, just its name */
export function findDescription(path: readonly string[]): string | undefined {
  const [shape = "", ...members] = path;
  const names = [path.join("."), [shape.replace(/Detail$/, ""), ...members].join(".")];
  const member = members.at(-1);
  if (member !== undefined) names.push(member);
  return names.map((name) => DESCRIPTIONS[name]).find((description) => description !== undefined);
}
