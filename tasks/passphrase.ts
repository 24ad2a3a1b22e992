import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";

import type { OpenerSource } from "../client/identity.ts";
import type { Wallet } from "../protocol/binding.ts";
import { DmtpError } from "../protocol/error.ts";

/** Gets what a person types after a prompt, without showing it. */
type Ask = (prompt: string) => Promise<string>;

/** The key document is public and can be attacked for ever; scrypt makes a guess dear, and only its number of guesses makes a passphrase safe. */
const MIN_PASSPHRASE_CHARACTERS = 12;

/**
 * A passphrase that opens: from DMTP_PASSPHRASE, or typed.
 * @throws OPTION_INVALID when there is neither
 */
export async function readPassphrase(variables: NodeJS.ProcessEnv, ask: Ask = askTerminal): Promise<string> {
  const given = variables["DMTP_PASSPHRASE"];
  if (given !== undefined && given !== "") return given;
  const typed = await ask("passphrase: ");
  if (typed === "") throw new DmtpError("OPTION_INVALID", "an empty passphrase");
  return typed;
}

/**
 * A passphrase that seals a new key: from DMTP_PASSPHRASE, or typed twice, since a slip would lose the key for ever.
 * @throws OPTION_INVALID when there is none, or the two differ; PASSPHRASE_INVALID when it is short
 */
export async function readNewPassphrase(variables: NodeJS.ProcessEnv, ask: Ask = askTerminal): Promise<string> {
  const passphrase = await readPassphrase(variables, ask);
  const characters = Array.from(passphrase.normalize("NFC"));
  const isOneAlone = new Set(characters).size === 1;
  if (characters.length < MIN_PASSPHRASE_CHARACTERS || isOneAlone) {
    const what = `the passphrase has fewer than ${MIN_PASSPHRASE_CHARACTERS} characters, or one alone`;
    throw new DmtpError("PASSPHRASE_INVALID", what, {
      hint: "The sealed key is public, and whoever guesses its passphrase has it: take five or more random words.",
    });
  }
  const isGiven = (variables["DMTP_PASSPHRASE"] ?? "") !== "";
  if (!isGiven && (await ask("the same again: ")) !== passphrase) {
    throw new DmtpError("OPTION_INVALID", "the two passphrases differ", { hint: "Run the command again." });
  }
  return passphrase;
}

/**
 * The wallet for keys that it sealed; for others the passphrase that was given, or DMTP_PASSPHRASE, or one that is typed, once.
 * @throws SEALED_KEY_UNOPENED from the source when a passphrase is needed and nobody gives one
 */
export function openEachWay(wallet: Wallet, passphrase: string | undefined): OpenerSource {
  let known = passphrase === undefined ? undefined : Promise.resolve(passphrase);
  return async (method) => {
    if (method === "wallet") return { wallet };
    known ??= readPassphrase(process.env).catch((cause: unknown) => {
      throw new DmtpError("SEALED_KEY_UNOPENED", "this key was sealed with a passphrase, and none was given", {
        cause,
        hint: "Set DMTP_PASSPHRASE, or run this in a terminal with --passphrase.",
      });
    });
    return { passphrase: await known };
  };
}

/** @throws OPTION_INVALID when nobody is there to type */
export async function askTerminal(prompt: string): Promise<string> {
  if (!process.stdin.isTTY) {
    throw new DmtpError("OPTION_INVALID", "no passphrase", { hint: "Set DMTP_PASSPHRASE, or run this in a terminal." });
  }
  process.stderr.write(prompt);
  // readline echoes to its output; this one swallows what is typed.
  const silent = new Writable({
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
  const line = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    return await line.question("");
  } finally {
    line.close();
    process.stderr.write("\n");
  }
}
