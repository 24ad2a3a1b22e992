import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { checksummed } from "../protocol/address.ts";
import {
  DEFAULT_OPTIONS,
  parseAnchorOptions,
  parseInterval,
  type AnchorArguments,
  type AnchorOptions,
} from "./anchor-options.ts";
import { rehearse } from "./anchor-rehearsal.ts";
import { describeAnchored, describeHeld, describeRefused, formatAnchored } from "./anchor-report.ts";
import { anchorRound } from "./anchor-round.ts";
import { watch } from "./anchor-watch.ts";
import { asDmtpError, command, describeError, reportError, type Outcome } from "./command.ts";
import { promptOnStderr } from "./hardhat-prompts.ts";
import type { HeldMessages, RefusedMessage } from "../io/mailbox/backlog.ts";
import type { Session } from "./session.ts";

/** `--watch` opens a session for each of its rounds; everything else is one command. */
export default async function anchorTask(args: AnchorArguments, hre: HardhatRuntimeEnvironment): Promise<void> {
  try {
    const options = parseAnchorOptions(args);
    if (args.watch) {
      promptOnStderr(hre);
      await watch(hre, options, parseInterval(args.interval));
    } else
      await command<AnchorArguments>((session) =>
        args.dryRun ? rehearse(session, options) : anchor(session, options),
      )(args, hre);
  } catch (error) {
    reportError(asDmtpError(error), args.json);
  }
}

/** All unanchored CIDs become a manifest and go on chain; see {@link anchorRound}. Nothing to do is a success. */
export async function anchor(session: Session, options: AnchorOptions = DEFAULT_OPTIONS): Promise<Outcome> {
  const { anchored, account, error } = await anchorRound(session, options);
  const messages = anchored.reduce((count, one) => count + one.messages, 0);
  const { held, refused } = tellRest(session);
  const isAll = held.length === 0 && refused.length === 0;
  return {
    data: {
      anchored: messages,
      anchorer: account === null ? null : checksummed(account.address),
      anchors: anchored.map(describeAnchored),
      held,
      refused,
      // What was anchored before the run came to an end is told with what ended it.
      ...(error !== undefined && { error: describeError(error) }),
    },
    text:
      anchored.length === 0
        ? `nothing to anchor${isAll ? ": every message in the mailbox is anchored" : ""}`
        : anchored.map(formatAnchored).join("\n"),
    ...(anchored.length > 0 && { next: "npx hardhat audit" }),
    ...(error !== undefined && { error }),
  };
}

/** Warns of messages that can't be anchored now, and once of those that never can. */
function tellRest({ mailbox, terminal }: Session): {
  readonly held: readonly HeldMessages[];
  readonly refused: readonly RefusedMessage[];
} {
  const [held, refused] = [mailbox.held(), mailbox.refused(false)];
  for (const line of [...describeHeld(held), ...describeRefused(refused)]) terminal.note(`warning: ${line}`);
  // A crash before this tells it once more.
  if (refused.length > 0) mailbox.markTold();
  return { held, refused };
}
