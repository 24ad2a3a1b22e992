import { formatEther } from "ethers/utils";

import { readStatus } from "../io/chain/writer.ts";
import { checksummed } from "../protocol/address.ts";
import { command, type Outcome } from "./command.ts";
import type { Session } from "./session.ts";
import { table } from "./terminal.ts";

export default command<{ readonly json: boolean }>(status);

/** Who, where, how far, and what waits. */
export async function status(session: Session): Promise<Outcome> {
  const { reader, deployment, mailbox, content, folder } = session;
  const [chain, head] = await Promise.all([readStatus(reader), reader.head()]);
  const { unanchored, unpinned, messages } = mailbox.counts();
  const last = chain.lastAnchor;
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
      owner: { address: checksummed(chain.owner), balanceWei: chain.ownerBalance.toString() },
      anchorer: { address: checksummed(chain.anchorer), balanceWei: chain.anchorerBalance.toString() },
      mailbox: { folder, messages, unanchored, unpinned },
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
        ["mailbox", `${messages} messages, ${unanchored} unanchored, ${unpinned} unpinned`],
        ["content", content.name],
        ["owner", `${checksummed(chain.owner)}, ${formatEther(chain.ownerBalance)} POL`],
        ["anchorer", `${checksummed(chain.anchorer)}, ${formatEther(chain.anchorerBalance)} POL`],
      ],
      "",
    ),
  };
}

function formatAge(seconds: number): string {
  if (seconds < 120) return `${seconds} s`;
  if (seconds < 7_200) return `${Math.floor(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.floor(seconds / 3_600)} h`;
  return `${Math.floor(seconds / 86_400)} days`;
}
