/** What is to be sent: from the command line, a file, standard input, or a batch with a message a line. */
import { readFile } from "node:fs/promises";
import { buffer } from "node:stream/consumers";

import { z } from "zod";

import { parseAddress, type Address } from "../protocol/address.ts";
import { contentOfText, type Content } from "../protocol/content.ts";
import { DmtpError } from "../protocol/error.ts";
import { parseAddressOption } from "./named-option.ts";

export interface Draft {
  readonly to: Address;
  readonly content: Content;
  /** Of a batch. */
  readonly line?: number;
}

export interface DraftArguments {
  readonly to: string | undefined;
  readonly text: string | undefined;
  readonly file: string | undefined;
  readonly batch: string | undefined;
}

const batchLine = z.strictObject({ to: z.string(), text: z.string() });
const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/**
 * Everything that the arguments name, checked before anything is done with any of it.
 * @throws OPTION_INVALID, TEXT_*, ADDRESS_INVALID, FILE_UNREADABLE, BATCH_LINE_INVALID
 */
export async function readDrafts(args: DraftArguments, stdin: NodeJS.ReadStream = process.stdin): Promise<Draft[]> {
  const sources = [args.text, args.file, args.batch].filter((source) => source !== undefined);
  if (sources.length > 1) throw new DmtpError("OPTION_INVALID", "--text, --file and --batch exclude each other");
  if (args.batch !== undefined) {
    if (args.to !== undefined)
      throw new DmtpError("OPTION_INVALID", "a batch names its receivers itself; leave --to out");
    return parseBatch(decodeText(await readBytes(args.batch)));
  }
  if (args.to === undefined) throw new DmtpError("OPTION_INVALID", "no receiver", { hint: "Give --to ADDRESS." });
  const to = parseAddressOption("--to", args.to);
  return [{ to, content: contentOfText(args.text ?? decodeText(await readFileOrStdin(args.file, stdin))) }];
}

/**
 * One JSON object a line, empty lines skipped. One bad line refuses the whole batch, and is named.
 * @throws BATCH_LINE_INVALID, TEXT_EMPTY
 */
function parseBatch(text: string): Draft[] {
  const drafts: Draft[] = [];
  text.split("\n").forEach((line, i) => {
    if (line.trim() === "") return;
    try {
      const draft = batchLine.parse(JSON.parse(line));
      drafts.push({ to: parseAddress(draft.to), content: contentOfText(draft.text), line: i + 1 });
    } catch (cause) {
      // What the line says may be private, so it is not repeated.
      const why = cause instanceof DmtpError ? `${cause.code}, ${cause.message}` : "not {to, text} in JSON";
      throw new DmtpError("BATCH_LINE_INVALID", `line ${i + 1}: ${why}`, { cause });
    }
  });
  if (drafts.length === 0) throw new DmtpError("TEXT_EMPTY", "the batch has no message");
  return drafts;
}

async function readFileOrStdin(file: string | undefined, stdin: NodeJS.ReadStream): Promise<Uint8Array> {
  if (file !== undefined) return readBytes(file);
  if (stdin.isTTY) throw new DmtpError("TEXT_EMPTY", "no message given");
  return buffer(stdin);
}

async function readBytes(file: string): Promise<Uint8Array> {
  try {
    return await readFile(file);
  } catch (cause) {
    throw new DmtpError("FILE_UNREADABLE", `cannot read ${file}`, { cause });
  }
}

function decodeText(bytes: Uint8Array): string {
  try {
    return utf8.decode(bytes);
  } catch (cause) {
    throw new DmtpError("TEXT_NOT_UNICODE", "the input is not UTF-8", { cause });
  }
}
