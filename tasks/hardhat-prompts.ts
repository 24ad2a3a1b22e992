/** What Hardhat's keystore asks for, asked on standard error: standard output belongs to what a command found. */
import { readSync } from "node:fs";

import type { HardhatRuntimeEnvironment } from "hardhat/types/hre";

import { DmtpError } from "../protocol/error.ts";
import { askTerminal } from "./passphrase.ts";

/** Lets the keystore ask on the terminal, or take a line of standard input where there is none. */
export function promptOnStderr(hre: HardhatRuntimeEnvironment): void {
  hre.hooks.registerHandlers("userInterruptions", {
    requestSecretInput: (_context, interruptor, description) =>
      process.stdin.isTTY
        ? askTerminal(`[${interruptor}] ${description}: `)
        : Promise.resolve(readGivenLine(interruptor)),
  });
}

/** @throws CONFIGURATION_INVALID at the end of the input: a service has nobody who types */
function readGivenLine(interruptor: string): string {
  const line = readLine(0);
  if (line !== null) return line;
  throw new DmtpError("CONFIGURATION_INVALID", `${interruptor} asks for its password, and nobody is there to type it`, {
    hint: "Set the network's variables (AMOY_RPC_URL and AMOY_PRIVATE_KEY, for instance) in the environment: the keystore is not asked for what is set there.",
  });
}

/** Byte by byte: what comes after the line is for others. Null when there is none. */
export function readLine(descriptor: number): string | null {
  const bytes: number[] = [];
  const byte = new Uint8Array(1);
  while (readByte(descriptor, byte)) {
    if (byte[0] === 0x0a) return new TextDecoder().decode(Uint8Array.from(bytes)).replace(/\r$/, "");
    bytes.push(byte[0] ?? 0);
  }
  return bytes.length === 0 ? null : new TextDecoder().decode(Uint8Array.from(bytes));
}

/** False at the end, and where nothing can be read. */
function readByte(descriptor: number, byte: Uint8Array): boolean {
  try {
    return readSync(descriptor, byte) === 1;
  } catch {
    return false;
  }
}
