import { emptyTask, task } from "hardhat/config";
import { ArgumentType } from "hardhat/types/arguments";

// First, so that it serves whatever an action loads.
import "./compile-cache.ts";

const optional = { type: ArgumentType.STRING_WITHOUT_DEFAULT, defaultValue: undefined } as const;
const json = { name: "json", description: "Print one JSON document on standard output" } as const;
const from = {
  name: "from",
  description: "Your wallet, one of the network's accounts (default: its first)",
  ...optional,
} as const;
const passphrase = {
  name: "passphrase",
  description: "Use a passphrase in place of the wallet's signature; it is asked for, or read from DMTP_PASSPHRASE",
} as const;

const maxCost = {
  name: "maxCost",
  description: "The most to pay for a transaction, in POL (default: 0.5)",
  ...optional,
} as const;

const retryMissing = {
  name: "retryMissing",
  description: "Wait for content that no source had in an earlier run, however long they search",
} as const;

/** Every DMTP command. An action is loaded when it is run, so that the list costs nothing to the others. */
export const tasks = [
  emptyTask("keys", "Create, publish and look up DMTP keys").build(),

  task(
    ["keys", "register"],
    "Create a key, seal it to your wallet and publish it; where somebody else may have the old one: --revoke-old",
  )
    .addOption(from)
    .addFlag(passphrase)
    .addFlag({
      name: "revokeOld",
      description: "First revoke all keys that the wallet has: after a theft, see docs/operator.md",
    })
    .addOption(maxCost)
    .addFlag(json)
    .setAction(() => import("./keys-register.ts"))
    .build(),

  task(["keys", "revoke"], "Revoke all of a wallet's keys, for ever: what is anchored stays verified")
    .addOption(from)
    .addOption(maxCost)
    .addFlag(json)
    .setAction(() => import("./keys-revoke.ts"))
    .build(),

  task(["keys", "show"], "Show a wallet's key history, verified")
    .addOption({ name: "wallet", description: "The wallet to look up (default: your own)", ...optional })
    .addFlag(json)
    .setAction(() => import("./keys-show.ts"))
    .build(),

  task("send", "Encrypt, sign and store a message: --text, --file, --batch or standard input")
    .addOption({ name: "to", description: "The receiver's wallet", ...optional })
    .addOption(from)
    .addOption({ name: "text", description: "The message", ...optional })
    .addOption({ name: "file", description: "A UTF-8 file with the message", ...optional })
    .addOption({
      name: "batch",
      description: 'A file with a JSON object a line: {"to": "0x…", "text": "…"}',
      ...optional,
    })
    .addOption({
      name: "acceptContractWallet",
      description:
        "Accept the key of this receiver, which no signature of its wallet stands behind; several with commas; kept for that key",
      ...optional,
    })
    .addFlag({
      name: "acceptMissing",
      description:
        "Send though messages of yours may be missing here, whose number this one would repeat; kept for what is missing now",
    })
    .addFlag(passphrase)
    .addFlag(retryMissing)
    .addFlag(json)
    .setAction(() => import("./send.ts"))
    .build(),

  task("pin", "Pin everything the mailbox holds in the content store; or check, repair or copy what is anchored")
    .addOption({
      name: "to",
      description: "Copy everything anchored to this Kubo RPC API, or pinning+https://…",
      ...optional,
    })
    .addFlag({ name: "check", description: "Prove that every anchored block is present and pinned" })
    .addFlag({ name: "repair", description: "Fetch what is missing from any source, and pin what is not pinned" })
    .addFlag(json)
    .setAction(() => import("./pin.ts"))
    .build(),

  task("anchor", "Put all unanchored messages into a manifest and anchor it on chain")
    .addOption({ ...from, description: "The anchorer's account (default: the network's first)" })
    .addOption({
      name: "maxFee",
      description: "The most to pay for a unit of gas, in gwei (default: no cap)",
      ...optional,
    })
    .addOption({ name: "maxCost", description: "The most to pay for an anchor, in POL (default: 0.5)", ...optional })
    .addOption({
      name: "confirmations",
      description: "Wait until it lies this many blocks deep (default: 1)",
      ...optional,
    })
    .addFlag({ name: "waitFinal", description: "Wait until its block is final" })
    .addOption({ name: "timeout", description: "Seconds to wait, for each of these (default: 300)", ...optional })
    .addFlag({ name: "dryRun", description: "Say what would be anchored and what it would cost; write nothing" })
    .addFlag({
      name: "fork",
      description: "Build past anchors whose content no source has: what they list is left out",
    })
    .addFlag({ name: "watch", description: "Go on as a service, a log line in JSON for each round" })
    .addPositionalArgument({
      name: "interval",
      description: "With --watch: seconds between two rounds (default: 600)",
      ...optional,
    })
    .addFlag(json)
    .setAction(() => import("./anchor.ts"))
    .build(),

  task("history", "Show a conversation, rebuilt from chain and IPFS, decrypted and verified")
    .addOption({ name: "with", description: "The other wallet", ...optional })
    .addOption(from)
    .addFlag(passphrase)
    .addFlag(retryMissing)
    .addFlag(json)
    .setAction(() => import("./history.ts"))
    .build(),

  task("audit", "Rebuild and verify everything from chain and IPFS alone, with no wallet and no server")
    .addOption({ name: "room", description: "Show only this room's messages", ...optional })
    .addOption({ name: "car", description: "Take all blocks from this CAR file, and from nowhere else", ...optional })
    .addFlag({
      name: "offline",
      description: "With --car: take what the chain logged from the file too, which export wrote",
    })
    .addFlag(retryMissing)
    .addFlag(json)
    .setAction(() => import("./audit.ts"))
    .build(),

  task("export", "Write what is anchored to a CAR file that can be verified by itself")
    .addPositionalArgument({ name: "file", description: "Where to write it", ...optional })
    .addOption({ name: "room", description: "Only this room's messages", ...optional })
    .addOption({ name: "wallet", description: "Only the messages of this wallet's rooms", ...optional })
    .addOption({ name: "since", description: "Only the messages of this anchor and later ones", ...optional })
    .addFlag(retryMissing)
    .addFlag(json)
    .setAction(() => import("./export.ts"))
    .build(),

  task("import", "Put the blocks of an exported file into the content store, once all of it is verified")
    .addPositionalArgument({ name: "file", description: "The file to read", ...optional })
    .addFlag(json)
    .setAction(() => import("./import.ts"))
    .build(),

  task("indexer", "Start the indexer: follow the chain, verify, and serve histories over HTTP")
    .setAction(() => import("./indexer.ts"))
    .build(),

  task("relay", "Start the relay: take signed messages over HTTP, and promise by when they are anchored")
    .setAction(() => import("./relay.ts"))
    .build(),

  task("status", "Show addresses, chain height, what waits to be pinned and anchored, and who pays")
    .addFlag(json)
    .setAction(() => import("./status.ts"))
    .build(),
];
