/** Validators (RFC 9110, 8.8 and 13.1.2): a client that has an answer already does not get it again. */
import { hash } from "node:crypto";
import type { IncomingHttpHeaders } from "node:http";

/** Says that two answers mean the same: a part of a text may be left out of it. */
export function makeWeakTag(text: string): string {
  return `W/"${digest(text)}"`;
}

/** Says that two answers are the same bytes. */
export function makeStrongTag(text: string): string {
  return `"${digest(text)}"`;
}

/** Whether If-None-Match names this tag. By weak comparison, as the RFC has it for this header. */
export function matches({ "if-none-match": header }: IncomingHttpHeaders, tag: string): boolean {
  if (header === undefined) return false;
  if (header.trim() === "*") return true;
  const opaque = tag.replace(/^W\//, "");
  for (const [, named] of header.matchAll(/(?:W\/)?("[^"]*")/g)) if (named === opaque) return true;
  return false;
}

/** 128 bits are far more than two answers at one address ever collide in. */
function digest(text: string): string {
  return hash("sha256", text, "base64url").slice(0, 22);
}
