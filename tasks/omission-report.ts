/** How a command tells what a room's messages say is missing or forked (SPEC 8.5). */
import { checksummed } from "../protocol/address.ts";
import { toHex } from "../protocol/bytes.ts";
import type { Omissions, SequenceNumber } from "../protocol/omissions.ts";
import { short } from "./terminal.ts";

/** For `--json`. */
export function describeOmissions({ gaps, forks, unseen }: Omissions): object {
  const describe = ({ sender, ...number }: SequenceNumber): object => ({ sender: checksummed(sender), ...number });
  return { gaps: gaps.map(describe), forks: forks.map(describe), unseen: unseen.map(toHex) };
}

/** For a person: a line for each list that is not empty. */
export function formatOmissions({ gaps, forks, unseen }: Omissions): string[] {
  return [
    ...formatNumbers("missing by their numbers", gaps),
    ...formatNumbers("numbers given to more than one message", forks),
    ...(unseen.length === 0 ? [] : [`  seen by a sender and not here: ${unseen.map(toHex).join(", ")}`]),
  ];
}

function formatNumbers(what: string, numbers: readonly SequenceNumber[]): string[] {
  const byKey = Map.groupBy(
    numbers,
    ({ sender, senderKeyVersion }) => `${short(checksummed(sender))} under key ${senderKeyVersion}`,
  );
  return [...byKey].map(([key, found]) => `  ${what}: ${key}: ${found.map(({ seq }) => seq).join(", ")}`);
}
