/** What Kubo says, and what something before it says in its place: errors in JSON, in a text, or in the lines of an import. */
import { z } from "zod";

import type { Cid } from "../../protocol/cid.ts";

const importAnswer = z.object({ Root: z.object({ Cid: z.object({ "/": z.string() }), PinErrorMsg: z.string() }) });
const errorAnswer = z.object({ Message: z.string() });
/** Whoever asks is not known, or there is no such thing: no body would be taken. */
const NOT_OF_THE_BODY = new Set([401, 404, 405, 407, 429, 503]);
const ABSENT = /not found|could not find|not pinned|no link|deadline|timed? ?out|cancell?ed|offline/i;

/** Whether an error's words say that what was asked for is not there, or was not found in the time given. */
export function saysAbsent(message: string): boolean {
  return ABSENT.test(message);
}

/**
 * Why the root of an import is not pinned; null when it is. An error that comes late ends the answer early, and nothing else: only
 * this root without an error is success.
 */
export function findPinProblem(lines: string, root: Cid): string | null {
  for (const line of lines.split("\n")) {
    const answer = importAnswer.safeParse(parseJson(line)).data?.Root;
    if (answer?.Cid["/"] === root) return answer.PinErrorMsg === "" ? null : shorten(answer.PinErrorMsg);
  }
  return "it did not say that they are pinned";
}

/** Whether this is the refusal of something before Kubo, of which the body may be the reason: Kubo says what is wrong in its JSON. */
export function isRefusedBefore(status: number, said: string): boolean {
  return status === 413 || (!NOT_OF_THE_BODY.has(status) && !errorAnswer.safeParse(parseJson(said)).success);
}

/** What Kubo says of an error, in its JSON or, as a proxy does, in a text. */
export function parseMessage(text: string): string {
  const parsed = errorAnswer.safeParse(parseJson(text));
  return shorten(parsed.success ? parsed.data.Message : text);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

/** Harmless on a terminal, and short: Kubo says first where it was, and the reason last. */
export function shorten(said: string): string {
  const text = said.replaceAll(/\p{C}+/gu, " ").trim();
  return text.length <= 300 ? text : `${text.slice(0, 100)} … ${text.slice(-190)}`;
}

/** Kubo answered, with an error. */
export function isHttpError(error: unknown): error is Error {
  return error instanceof Error && error.name === "HTTPError";
}

/** The one asked for is not there; or was not found in the time given. */
export function isAbsent(error: unknown): boolean {
  return isTimeout(error) || (error instanceof Error && saysAbsent(error.message));
}

function isTimeout(error: unknown): boolean {
  return error instanceof Error && /^(?:Timeout|Abort)Error$/.test(error.name);
}
