import { walletOf } from "../io/chain/writer.ts";
import { harmless, harmlessLine } from "../io/harmless.ts";
import { checksummed, parseAddress, type Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { roomIdOf } from "../protocol/room.ts";
import { command, type Outcome } from "./command.ts";
import { readConversation, type Line } from "./conversation.ts";
import { openerOf } from "./identity.ts";
import { describeOmissions, formatOmissions } from "./omission-report.ts";
import { readPassphrase } from "./passphrase.ts";
import type { Session } from "./session.ts";
import { formatTime, plural, short } from "./terminal.ts";

export interface HistoryArguments {
  readonly with: string | undefined;
  readonly from: string | undefined;
  readonly passphrase: boolean;
  readonly json: boolean;
}

export default command<HistoryArguments>(async (session, args) => {
  if (args.with === undefined) throw new DmtpError("OPTION_INVALID", "no peer", { hint: "Give --with ADDRESS." });
  const peer = parseAddress(args.with);
  return history(session, peer, args.from, args.passphrase ? await readPassphrase(process.env) : undefined);
});

/** The conversation of two wallets, from chain and content; the mailbox only adds what is not anchored yet. */
export async function history(
  session: Session,
  peer: Address,
  from: string | undefined,
  passphrase?: string,
): Promise<Outcome> {
  const { signer, address: own } = await session.signer(from === undefined ? undefined : parseAddress(from));
  if (own === peer) throw new DmtpError("RECEIVER_IS_SENDER", "both ends are the same wallet");
  const opener = openerOf(await walletOf(signer), passphrase);
  const room = roomIdOf(session.deployment, own, peer);
  const { lines, omissions } = await readConversation(session, room, own, opener);
  const rejected = lines.filter(({ verdict }) => verdict.status === "rejected").length;
  const missing = lines.filter(({ verdict }) => verdict.status === "missing").length;
  const error =
    rejected > 0
      ? new DmtpError("HISTORY_NOT_VERIFIED", `${plural(rejected, "message")} rejected`)
      : missing > 0
        ? new DmtpError("HISTORY_INCOMPLETE", `${plural(missing, "message")} not reachable`)
        : undefined;
  return {
    data: {
      room,
      wallets: [checksummed(own), checksummed(peer)],
      messages: lines.map(({ sender, ...line }) => ({ ...line, sender: sender === null ? null : checksummed(sender) })),
      omissions: describeOmissions(omissions),
    },
    text:
      lines.length === 0
        ? `no messages with ${checksummed(peer)} yet`
        : [...lines.map(formatLine), ...formatOmissions(omissions)].join("\n"),
    ...(error !== undefined && { error }),
  };
}

function formatLine({ cid, sender, timestamp, text, verdict, anchor }: Line): string {
  const who = sender === null ? "unknown sender" : short(checksummed(sender));
  const when = timestamp === null ? "" : `  ${formatTime(timestamp)}`;
  const what =
    verdict.status === "rejected" ? `rejected: ${verdict.code}, ${harmlessLine(verdict.reason)}` : verdict.status;
  const where = anchor === null ? "" : `, anchor ${anchor.index}, tx ${short(anchor.transactionHash)}`;
  const body = text === null ? `(${cid} cannot be shown)` : harmless(text);
  return `${who}${when}  [${what}${where}]\n${body.replaceAll(/^/gm, "  ")}\n`;
}
