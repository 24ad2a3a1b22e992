/** What `anchor` would do, before anybody pays for it. */
import { anchorCall } from "../io/chain/transactions/anchor-call.ts";
import { estimateGas } from "../io/chain/transactions/contract-call.ts";
import { feesWithin, readFeeMarket } from "../io/chain/transactions/fees.ts";
import { lookAtChain, type Look } from "../io/catch-up.ts";
import { checksummed } from "../protocol/address.ts";
import { formatGwei, formatPol } from "../io/chain/transactions/amount.ts";
import { toHex } from "../protocol/bytes.ts";
import { digestOfCid } from "../protocol/cid.ts";
import { DmtpError } from "../protocol/error.ts";
import { refuseBase } from "./anchor-base.ts";
import { makeDraft, nextRow, sizeOf } from "./anchor-draft.ts";
import type { AnchorOptions } from "./anchor-options.ts";
import { findAnchorer } from "./anchor-round.ts";
import type { Outcome } from "./command.ts";
import type { Session } from "./session.ts";
import { plural, table } from "./terminal.ts";

/**
 * `anchor --dry-run`: what the next anchor would be and cost. Nothing is written: not to the chain, not to the content store, and
 * what the journal would say is rolled back.
 * @throws what the anchor would throw before its transaction
 */
export async function rehearse(session: Session, options: AnchorOptions): Promise<Outcome> {
  const { mailbox, deployment, reader, content, rpc, now } = session;
  const plan = ({ standing, apply }: Look) =>
    mailbox.rehearse(() => {
      apply();
      const row = nextRow(session, standing, options);
      const draft = row === null ? null : makeDraft(session, row);
      if (row === null || draft === null) return null;
      return { row, draft, past: mailbox.anchors.missingAboveTip(), known: mailbox.log.indexOf(draft.cid), standing };
    });
  let next = plan(await lookAtChain(mailbox, reader, content, { now }));
  // What was missing at the last look may be there now.
  if ((next?.past.length ?? 0) > 0) next = plan(await lookAtChain(mailbox, reader, content, { now, isForced: true }));
  if (next === null) return { data: { dryRun: true, messages: 0 }, text: "nothing to anchor" };
  if (next.known !== null) {
    return { data: { dryRun: true, messages: 0 }, text: `nothing to anchor: anchor ${next.known} lists what waits` };
  }
  const { row, draft, past, standing } = next;
  if (past.length > 0 && !options.isFork) throw refuseBase(session, past);
  const account = await findAnchorer(session, options, standing);
  const digest = digestOfCid(draft.cid);
  const gas = await estimateGas(rpc, account.address, anchorCall(deployment, row.prev, digest));
  if (gas === "overtaken") throw new DmtpError("HEAD_MOVED", "somebody else anchored while this was worked out");
  const market = await readFeeMarket(rpc, deployment.chainId);
  const fees = feesWithin(market, options.limits, gas);
  const cost = gas * (market.baseFeePerGas + market.tip);
  const sizeBytes = sizeOf(draft.blocks);
  const isResumed = row.state !== "planned";
  return {
    data: {
      dryRun: true,
      index: row.index,
      messages: row.count,
      rooms: draft.touched.length,
      manifest: draft.cid,
      digest: toHex(digest),
      prev: toHex(row.prev),
      blocks: draft.blocks.length,
      sizeBytes,
      resumed: isResumed,
      ...(past.length > 0 && { past: past.map(({ index }) => index) }),
      anchorer: checksummed(account.address),
      gasLimit: gas.toString(),
      baseFeePerGasWei: market.baseFeePerGas.toString(),
      tipPerGasWei: market.tip.toString(),
      costWei: cost.toString(),
      maxCostWei: fees === null ? null : (gas * fees.maxFeePerGas).toString(),
      isWithinCaps: fees !== null,
    },
    text: [
      `would anchor ${plural(row.count, "message")} of ${plural(draft.touched.length, "room")} as anchor ${row.index}${isResumed ? ", which an earlier run began" : ""}`,
      table([
        ["manifest", draft.cid],
        ["digest", toHex(digest)],
        ["to store", `${plural(draft.blocks.length, "block")}, ${plural(sizeBytes, "byte")}`],
        ["gas", `at most ${gas.toLocaleString("en")}, at ${formatGwei(market.baseFeePerGas + market.tip)} gwei`],
        [
          "cost",
          `${formatPol(cost)} POL now, ${fees === null ? "more than the caps allow" : `never more than ${formatPol(gas * fees.maxFeePerGas)} POL`}`,
        ],
      ]),
      "nothing was written",
    ].join("\n"),
  };
}
