/** Commands that a person is told to run next, with the network that they gave: pasted as they stand, they meet the same chain. */
import { checksummed, type Address } from "../protocol/address.ts";

/** A command that works on a network; `audit --car FILE --offline` needs none. */
const COMMAND =
  /npx hardhat (?:keys (?:register|revoke|show)|send|pin|anchor|history|audit|export|import|indexer|relay|status|ignition (?:deploy|verify|track-tx|wipe) \S+)\b(?! --car)/g;

/** Puts `--network NAME` behind each command in `text`, where the command line that this process was started with has one. */
export function repeatNetwork(text: string, args: readonly string[] = process.argv): string {
  const network = networkIn(args);
  if (network === undefined || !/^[\w.-]+$/.test(network)) return text;
  return text.replaceAll(COMMAND, (command) => `${command} --network ${network}`);
}

function networkIn(args: readonly string[]): string | undefined {
  const place = args.findLastIndex((arg) => arg === "--network" || arg.startsWith("--network="));
  const arg = args[place];
  return arg === "--network" ? args[place + 1] : arg?.slice("--network=".length);
}

/** ` --from ADDRESS`, for a command that a wallet has to run. */
export function fromOption(wallet: Address): string {
  return ` --from ${checksummed(wallet)}`;
}

/** A path as a shell takes it. */
export function quoteForShell(path: string): string {
  return /^[\w./:@%+,-]+$/.test(path) ? path : `'${path.replaceAll("'", "'\\''")}'`;
}
