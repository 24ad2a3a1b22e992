import { walletOf } from "../io/chain/transactions/writer.ts";
import { harmless, harmlessLine } from "../io/harmless.ts";
import { checksummed, type Address } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { findHint } from "../protocol/hint.ts";
import type { Omissions } from "../protocol/omissions.ts";
import { roomIdOf } from "../protocol/room.ts";
import { command, type Outcome } from "./command.ts";
import { readConversation, type Line } from "./conversation.ts";
import { parseAddressOption } from "./named-option.ts";
import { describeOmissions, formatOmissions } from "./omission-report.ts";
import { openEachWay, readPassphrase } from "./passphrase.ts";
import type { Session } from "./session.ts";
import { formatAccount, formatBinding, formatTime, plural, short } from "./terminal.ts";
import { countUnshown, formatUnshown, showsEach } from "./unshown.ts";

interface HistoryArguments {
  readonly with: string | undefined;
  readonly from: string | undefined;
  readonly passphrase: boolean;
  readonly retryMissing: boolean;
  readonly json: boolean;
}

export default command<HistoryArguments>(async (session, args) => {
  if (args.with === undefined) throw new DmtpError("OPTION_INVALID", "no peer", { hint: "Give --with ADDRESS." });
  const peer = parseAddressOption("--with", args.with);
  const passphrase = args.passphrase ? await readPassphrase(process.env) : undefined;
  return history(session, peer, args.from, passphrase, args.retryMissing);
});

/** The conversation of two wallets, from chain and content; the mailbox adds what is not anchored yet, and blocks that no source has. */
export async function history(
  session: Session,
  peer: Address,
  from: string | undefined,
  passphrase?: string,
  retryMissing = false,
): Promise<Outcome> {
  const { signer, address: own } = await session.signer(
    from === undefined ? undefined : parseAddressOption("--from", from),
  );
  if (own === peer) throw new DmtpError("RECEIVER_IS_SENDER", "both ends are the same wallet");
  const opener = openEachWay(await walletOf(signer), passphrase);
  const room = roomIdOf(session.deployment, own, peer);
  const { lines, omissions, unopened } = await readConversation(
    session,
    room,
    own,
    opener,
    session.finder(retryMissing),
  );
  for (const { version, error } of unopened) {
    session.terminal.note(
      `warning[${error.code}]: key ${version} does not open, and no message that was made with it: ${harmlessLine(error.message)}\nhint: ${findHint(error)}`,
    );
  }
  const count = (status: Line["verdict"]["status"]): number =>
    lines.filter(({ verdict }) => verdict.status === status).length;
  const unshown = countUnshown(lines.map((line) => ({ ...line, anchorIndex: line.anchor?.index ?? null })));
  const shown = lines.filter(showsEach(unshown));
  const [rejected, missing] = [count("rejected"), count("missing")];
  const verifiedElsewhere = lines.filter((line) => line.isVerifiedElsewhere).length;
  const error =
    rejected > verifiedElsewhere
      ? new DmtpError("HISTORY_NOT_VERIFIED", `${plural(rejected - verifiedElsewhere, "message")} rejected`)
      : missing > 0
        ? new DmtpError("HISTORY_INCOMPLETE", `${plural(missing, "message")} not reachable`)
        : // An older key that is lost is no news; of the newest, the user gave the wrong wallet or passphrase.
          unopened.find(({ isNewest }) => isNewest)?.error;
  return {
    data: {
      room,
      wallets: [checksummed(own), checksummed(peer)],
      counts: { verified: count("verified"), rejected, missing, pending: count("pending") },
      verifiedElsewhere,
      messages: shown.map(({ sender, ...line }) => ({ ...line, sender: sender === null ? null : checksummed(sender) })),
      unshown,
      unopenedKeys: unopened.map(({ version, error: { code, message } }) => ({ version, code, message })),
      omissions: describeOmissions(omissions),
    },
    text:
      lines.length === 0
        ? `no messages with ${checksummed(peer)} yet`
        : [
            ...shown.map(formatLine),
            ...formatUnshown(unshown, "entries of this room"),
            ...(missing > 0 && isWhole(omissions) ? [WHOLE] : []),
            ...formatOmissions(omissions),
          ].join("\n"),
    ...(error !== undefined && { error }),
  };
}

/**
 * Anyone who anchors can list digests of nothing, and they look like messages that were lost. What a sender's numbers and a later
 * message's references show to be lost, no garbage can hide.
 */
function isWhole({ gaps, unseen }: Omissions): boolean {
  return gaps.length === 0 && unseen.length === 0;
}

const WHOLE = "every message that a later one counts or names is here; what is missing may be the newest, or none";

function formatLine(line: Line): string {
  const { cid, sender, timestamp, text, verdict, anchor, binding, isVerifiedElsewhere, accounted } = line;
  const who = sender === null ? "unknown sender" : short(checksummed(sender));
  const when = timestamp === null ? "" : `  ${formatTime(timestamp)}`;
  const what =
    verdict.status === "rejected" ? `rejected: ${verdict.code}, ${harmlessLine(verdict.reason)}` : verdict.status;
  const where = anchor === null ? "" : `, anchor ${anchor.index}, tx ${short(anchor.transactionHash)}`;
  const elsewhere = isVerifiedElsewhere ? ", verified at another place" : "";
  const body = text === null ? `(${cid} cannot be shown)` : harmless(text);
  return `${who}${when}  [${what}${elsewhere}${where}${formatAccount(accounted)}${formatBinding(binding)}]\n${body.replaceAll(/^/gm, "  ")}\n`;
}
