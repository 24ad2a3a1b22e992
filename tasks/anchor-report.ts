/** An anchor as its operator sees it. */
import { formatPol } from "../io/chain/amount.ts";
import { toHex } from "../protocol/bytes.ts";
import type { Anchored } from "./anchor-round.ts";
import { plural, table } from "./terminal.ts";

/** For `--json` and the log; amounts as decimal text. */
export function describeAnchored({ index, messages, manifest, resumed, transaction }: Anchored): object {
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
    transactionHash: transaction.hash,
    blockNumber: transaction.blockNumber,
    gasUsed: transaction.gasUsed.toString(),
    costWei: transaction.cost.toString(),
  };
}

/** For a person. */
export function formatAnchored({ index, messages, manifest, resumed, transaction }: Anchored): string {
  const begun = resumed ? ", which an earlier run began" : "";
  return [
    `anchored ${plural(messages, "message")} of ${plural(manifest.rooms, "room")} as anchor ${index}${begun}`,
    table([
      ["manifest", manifest.cid],
      ["state root", toHex(manifest.state)],
      ["transaction", transaction.hash],
      ["gas", `${transaction.gasUsed.toLocaleString("en")}, ${formatPol(transaction.cost)} POL`],
    ]),
  ].join("\n");
}
