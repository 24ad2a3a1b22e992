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
import { describeAnchored, formatAnchored } from "./anchor-report.ts";
import { anchorRound } from "./anchor-round.ts";
import { watch } from "./anchor-watch.ts";
import { asDmtpError, command, reportError, type Outcome } from "./command.ts";
import type { Session } from "./session.ts";

/** `--watch` opens a session for each of its rounds; everything else is one command. */
export default async function anchorTask(args: AnchorArguments, hre: HardhatRuntimeEnvironment): Promise<void> {
  try {
    const options = parseAnchorOptions(args);
    if (args.watch) await watch(hre, options, parseInterval(args.interval));
    else
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
  return {
    data: {
      anchored: messages,
      anchorer: account === null ? null : checksummed(account.address),
      anchors: anchored.map(describeAnchored),
    },
    text:
      anchored.length === 0
        ? "nothing to anchor: every message in the mailbox is anchored"
        : [...anchored.map(formatAnchored), "next: npx hardhat audit"].join("\n"),
    ...(error !== undefined && { error }),
  };
}
