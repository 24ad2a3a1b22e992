import { formatEther } from "ethers/utils";

import { followLog } from "../io/catch-up.ts";
import type { ChainHead } from "../io/chain/agreement/chain-view.ts";
import { readStatus } from "../io/chain/transactions/writer.ts";
import type { JournalState } from "../io/mailbox/journal.ts";
import { checksummed } from "../protocol/address.ts";
import { DmtpError } from "../protocol/error.ts";
import { describeHeld, describeRefused } from "./anchor-report.ts";
import { command, type Outcome } from "./command.ts";
import type { Session } from "./session.ts";
import { plural, table } from "./terminal.ts";

export default command<{ readonly json: boolean }>(status);

/** Who, where, how far, and what waits. */
export async function status(session: Session): Promise<Outcome> {
  const { reader, deployment, mailbox, content, folder } = session;
  const [chain, head] = await Promise.all([readStatus(reader), reader.head()]);
  const isCurrent = await tryFollow(session, head);
  const { unanchored, unpinned, messages } = mailbox.counts();
  const held = mailbox.held();
  const refused = mailbox.refused(true);
  const last = chain.lastAnchor;
  const open = mailbox.anchors.open().map(({ index, state, count, manifest, blockNumber }) => {
    return { index, state, messages: count, manifest, blockNumber };
  });
  const ageS = last === null ? null : Math.max(0, Math.floor(session.now() / 1000) - last.timestamp);
  return {
    data: {
      chainId: deployment.chainId,
      cidStore: checksummed(deployment.cidStore),
      keyRegistry: checksummed(deployment.keyRegistry),
      head: head.block.number,
      finalized: head.finalized,
      anchors: chain.anchors,
      lastAnchor: last === null ? null : { ...last, ageS },
      pendingOwner: chain.pendingOwner === null ? null : checksummed(chain.pendingOwner),
      owner: { address: checksummed(chain.owner), balanceWei: chain.ownerBalance.toString() },
      anchorer: { address: checksummed(chain.anchorer), balanceWei: chain.anchorerBalance.toString() },
      mailbox: { folder, messages, unanchored, unpinned, isCurrent, held, refused, openAnchors: open },
      content: content.name,
    },
    text: table(
      [
        ["chain", `${deployment.chainId}, block ${head.block.number}, final up to ${head.finalized}`],
        ["CIDStore", checksummed(deployment.cidStore)],
        ["KeyRegistry", checksummed(deployment.keyRegistry)],
        [
          "anchors",
          last === null
            ? "none yet"
            : `${chain.anchors}, the last in block ${last.blockNumber}, ${formatAge(ageS ?? 0)} ago`,
        ],
        [
          "mailbox",
          `${plural(messages, "message")}, ${unanchored.toLocaleString("en")} unanchored, ${unpinned.toLocaleString("en")} unpinned`,
        ],
        ...(isCurrent
          ? []
          : [["", "as of the last look at the chain: the next send or anchor reads what is new"] as const]),
        ...[...describeHeld(held), ...describeRefused(refused)].map((line): [string, string] => ["", line]),
        ...open.map(({ index, state, messages: count }): [string, string] => {
          return [`anchor ${index}`, `${plural(count, "message")}, ${MEANINGS[state]}`];
        }),
        ["content", content.name],
        ["owner", `${checksummed(chain.owner)}, ${formatEther(chain.ownerBalance)} POL`],
        ...(chain.pendingOwner === null
          ? []
          : [
              [
                "",
                `offered to ${checksummed(chain.pendingOwner)}, which has not called acceptOwnership() yet`,
              ] as const,
            ]),
        ["anchorer", `${checksummed(chain.anchorer)}, ${formatEther(chain.anchorerBalance)} POL`],
      ],
      "",
    ),
  };
}

/** Whether the mailbox is brought up to the chain, as far as that takes no replay. */
async function tryFollow({ mailbox, reader, content }: Session, head: ChainHead): Promise<boolean> {
  try {
    mailbox.keepPinsOf(content.name);
    return await followLog(mailbox, reader, head);
  } catch (error) {
    // A full disk, or a command that writes just now, is no reason to show nothing.
    if (error instanceof DmtpError && error.kind === "unavailable") return false;
    throw error;
  }
}

/** What an open row of the journal waits for. */
const MEANINGS: Readonly<Record<JournalState, string>> = {
  planned: "planned; the next run goes on",
  written: "stored and pinned; the next run goes on",
  submitted: "its transaction waits to be mined",
  mined: "mined, not final yet",
  final: "final",
  adopted: "accounted for",
  abandoned: "given up",
};

function formatAge(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}
