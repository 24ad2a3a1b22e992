/** An anchor as its operator sees it. */
import { formatPol } from "../io/chain/amount.ts";
import { toHex } from "../protocol/bytes.ts";
import type { Anchored } from "./anchor-round.ts";
import { plural, table } from "./terminal.ts";

/** For `--json` and the log; amounts as decimal text. */
export function describeAnchored({ index, messages, draft, resumed, transaction }: Anchored): object {
  return {
    index,
    messages,
    rooms: draft.touched.length,
    manifest: draft.cid,
    base: draft.manifest.base?.index ?? null,
    state: toHex(draft.manifest.state),
    blocks: draft.blocks.length,
    sizeBytes: draft.blocks.reduce((size, { bytes }) => size + bytes.length, 0),
    resumed,
    transactionHash: transaction.hash,
    blockNumber: transaction.blockNumber,
    gasUsed: transaction.gasUsed.toString(),
    costWei: transaction.cost.toString(),
  };
}

/** For a person. */
export function formatAnchored({ index, messages, draft, resumed, transaction }: Anchored): string {
  const begun = resumed ? ", which an earlier run began" : "";
  return [
    `anchored ${plural(messages, "message")} of ${plural(draft.touched.length, "room")} as anchor ${index}${begun}`,
    table([
      ["manifest", draft.cid],
      ["state root", toHex(draft.manifest.state)],
      ["transaction", transaction.hash],
      ["gas", `${transaction.gasUsed.toLocaleString("en")}, ${formatPol(transaction.cost)} POL`],
    ]),
  ].join("\n");
}
