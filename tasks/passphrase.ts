import { createInterface } from "node:readline/promises";
import { Writable } from "node:stream";

import { DmtpError } from "../protocol/error.ts";

/**
 * The passphrase: from DMTP_PASSPHRASE, or typed without being shown.
 * @throws OPTION_INVALID when there is neither
 */
export async function readPassphrase(variables: NodeJS.ProcessEnv): Promise<string> {
  const given = variables["DMTP_PASSPHRASE"];
  if (given !== undefined && given !== "") return given;
  if (!process.stdin.isTTY) {
    throw new DmtpError("OPTION_INVALID", "no passphrase", { hint: "Set DMTP_PASSPHRASE, or run this in a terminal." });
  }
  process.stderr.write("passphrase: ");
  // readline echoes to its output; this one swallows what is typed.
  const silent = new Writable({
    write: (_chunk, _encoding, done) => {
      done();
    },
  });
  const line = createInterface({ input: process.stdin, output: silent, terminal: true });
  try {
    const typed = await line.question("");
    if (typed === "") throw new DmtpError("OPTION_INVALID", "an empty passphrase");
    return typed;
  } finally {
    line.close();
    process.stderr.write("\n");
  }
}
