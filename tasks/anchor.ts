import { sendAnchor } from "../io/chain/writer.ts";
import { catchUp } from "../io/history.ts";
import { checksummed, parseAddress } from "../protocol/address.ts";
import { toHex } from "../protocol/bytes.ts";
import { digestOfCid, type Cid } from "../protocol/cid.ts";
import { draftManifest, MAX_MESSAGES, type Tip } from "../protocol/manifest.ts";
import type { RoomId } from "../protocol/room.ts";
import { State, type Delta } from "../protocol/state.ts";
import { command, type Outcome } from "./command.ts";
import type { Session } from "./session.ts";
import { pin } from "./pin.ts";
import { plural, table } from "./terminal.ts";

export interface AnchorArguments {
  readonly from: string | undefined;
  readonly json: boolean;
}

export default command<AnchorArguments>((session, { from }) => anchor(session, from));

/**
 * Steps 8 and 9 of the flow: all unanchored CIDs become a manifest, its blocks are stored and pinned, its CID goes on chain.
 * Nothing to do is a success without a transaction.
 * @throws NOT_ANCHORER, FUNDS_INSUFFICIENT, HEAD_MOVED, TRANSACTION_FAILED, CONTENT_WRITE_FAILED
 */
export async function anchor(session: Session, from: string | undefined): Promise<Outcome> {
  const { mailbox, content, reader, deployment, terminal } = session;
  // The head that the manifest builds on; if it moves before the transaction is mined, the contract refuses.
  const { head } = await catchUp(mailbox, reader, content);
  const delta = groupByRoom(mailbox.unanchored().slice(0, MAX_MESSAGES));
  if (delta.size === 0) {
    return { data: { anchored: 0 }, text: "nothing to anchor: every message in the mailbox is anchored" };
  }
  const { signer, address } = await session.signer(from === undefined ? undefined : parseAddress(from));
  // Messages are pinned before anything names them, so that no manifest ever points at what garbage collection may take.
  await pin(session);

  const tip = mailbox.tip();
  const draft = draftManifest(tip, delta);
  terminal.progress(`storing ${plural(draft.blocks.length, "block")}`);
  // A crash after this leaves blocks that nothing names; the next run makes the same ones.
  await content.put(draft.blocks);
  await content.pin([draft.cid]);
  terminal.progress("anchoring");
  const receipt = await sendAnchor(signer, deployment, head, digestOfCid(draft.cid));

  const before = tip?.state ?? State.EMPTY;
  const next: Tip = {
    index: receipt.index,
    cid: draft.cid,
    seq: draft.manifest.seq,
    state: before.after(delta, receipt.index),
  };
  // A crash before this line leaves an anchor that the mailbox does not know; catchUp reads it back from the chain.
  mailbox.recordAnchor(next, delta);
  const { count } = draft.manifest;
  return {
    data: {
      anchored: count,
      rooms: delta.size,
      index: receipt.index,
      manifest: draft.cid,
      base: draft.manifest.base?.index ?? null,
      state: toHex(draft.manifest.state),
      blocks: draft.blocks.length,
      sizeBytes: draft.blocks.reduce((size, { bytes }) => size + bytes.length, 0),
      anchorer: checksummed(address),
      transactionHash: receipt.transactionHash,
      blockNumber: receipt.blockNumber,
      gasUsed: receipt.gasUsed.toString(),
    },
    text: [
      `anchored ${plural(count, "message")} of ${plural(delta.size, "room")} as anchor ${receipt.index}`,
      table([
        ["manifest", draft.cid],
        ["state root", toHex(draft.manifest.state)],
        ["transaction", receipt.transactionHash],
        ["gas", receipt.gasUsed.toLocaleString("en")],
      ]),
      "next: npx hardhat audit",
    ].join("\n"),
  };
}

function groupByRoom(unanchored: readonly { readonly room: RoomId; readonly cid: Cid }[]): Delta {
  const delta = new Map<RoomId, Cid[]>();
  for (const { room, cid } of unanchored) {
    const cids = delta.get(room);
    if (cids === undefined) delta.set(room, [cid]);
    else cids.push(cid);
  }
  return delta;
}
