/** An anchor as its operator sees it. */
import { formatPol } from "../io/chain/transactions/amount.ts";
import { toHex } from "../protocol/bytes.ts";
import { nameAnchors } from "./anchor-base.ts";
import type { Anchored } from "./anchor-round.ts";
import type { HeldMessages, RefusedMessage } from "../io/mailbox/backlog.ts";
import { HINTS } from "../protocol/hint.ts";
import { plural, table } from "./terminal.ts";

/** So many messages that are rejected for good are named one by one. */
const MAX_NAMED = 20;

/** For `--json` and the log; amounts as decimal text. */
export function describeAnchored({ index, messages, manifest, resumed, past, transaction }: Anchored): object {
  return {
    index,
    messages,
    rooms: manifest.rooms,
    manifest: manifest.cid,
    base: manifest.base,
    state: toHex(manifest.state),
    blocks: manifest.blocks,
    sizeBytes: manifest.sizeBytes,
    resumed,
    ...(past.length > 0 && { past }),
    transactionHash: transaction.hash,
    blockNumber: transaction.blockNumber,
    gasUsed: transaction.gasUsed.toString(),
    costWei: transaction.cost.toString(),
  };
}

/** For a person. */
export function formatAnchored({ index, messages, manifest, resumed, past, transaction }: Anchored): string {
  const begun = resumed ? ", which an earlier run began" : "";
  return [
    `anchored ${plural(messages, "message")} of ${plural(manifest.rooms, "room")} as anchor ${index}${begun}`,
    table([
      ["manifest", manifest.cid],
      ...(past.length === 0
        ? []
        : [
            [
              "fork",
              `past ${nameAnchors(past)}, whose content no source has: its state leaves out what they list`,
            ] as const,
          ]),
      ["state root", toHex(manifest.state)],
      ["transaction", transaction.hash],
      ["gas", `${transaction.gasUsed.toLocaleString("en")}, ${formatPol(transaction.cost)} POL`],
    ]),
  ].join("\n");
}

/** A line for each reason why messages wait that would be rejected if they were anchored now. */
export function describeHeld(held: readonly HeldMessages[]): string[] {
  return held.map(({ code, count }) => `${plural(count, "message")} held back, ${code}: ${HINTS[code]}`);
}

/** A line for each message that is rejected for good, and was not anchored again. */
export function describeRefused(refused: readonly RefusedMessage[]): string[] {
  const lines = refused
    .slice(0, MAX_NAMED)
    .map(
      ({ cid, code, anchorIndex }) =>
        `message ${cid} of anchor ${anchorIndex} is rejected for good, ${code}: ${HINTS[code]}`,
    );
  const rest = refused.length - lines.length;
  return rest === 0 ? lines : [...lines, `and ${plural(rest, "more message")}`];
}
