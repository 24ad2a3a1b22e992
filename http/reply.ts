/** Answers as they go over the wire, each with what a cache may do with it. */
import type { Request, Response } from "express";

import type { ServingBudget } from "./budget.ts";
import { sendCompressed, sendPlain } from "./compression.ts";
import { makeStrongTag, makeWeakTag, matches } from "./conditional.ts";
import type { Listener, RawBlock } from "./route.ts";

/** A request, where its answer goes, and what the answer is counted against. */
export interface Exchange {
  readonly request: Request;
  readonly response: Response;
  readonly budget: ServingBudget;
}

export const EVENT_STREAM = "text/event-stream";
export const JSON_TYPE = "application/json; charset=utf-8";

const FOR_EVER = "public, max-age=31536000, immutable";

/** An answer about this very moment. */
export async function sendLive({ request, response, budget }: Exchange, type: string, text: string): Promise<void> {
  response.set({ "Content-Type": type, "Cache-Control": "no-store" });
  await sendCompressed(budget, request, response, text);
}

/**
 * An answer as of a height. Its tag leaves the height out: on a chain with a block every two seconds, a copy of an answer
 * that has not changed since is still good.
 */
export async function sendJson(
  { request, response, budget }: Exchange,
  body: object,
  hasBlocks: boolean,
): Promise<void> {
  const { at, ...rest } = body as { readonly at?: unknown };
  const tagged = JSON.stringify(rest);
  response.set({ "Content-Type": JSON_TYPE, "Cache-Control": "no-cache" });
  if (isUnchanged(request, response, makeWeakTag(tagged))) return;
  const text = `{"at":${JSON.stringify(at ?? null)},${tagged.slice(1)}`;
  if (hasBlocks) await sendPlain(budget, response, text);
  else await sendCompressed(budget, request, response, text);
}

/** An answer that never changes again, the same bytes from every instance of the service. */
export async function sendLasting({ request, response, budget }: Exchange, body: object): Promise<void> {
  const text = JSON.stringify(body);
  response.set({ "Content-Type": JSON_TYPE, "Cache-Control": FOR_EVER });
  // Weak all the same: compressed or not, it is one answer.
  if (!isUnchanged(request, response, makeWeakTag(text))) await sendCompressed(budget, request, response, text);
}

/** A block is what its CID says. Ciphertext does not compress. */
export async function sendBlock({ request, response, budget }: Exchange, { cid, bytes }: RawBlock): Promise<void> {
  response.set({
    "Content-Type": "application/vnd.ipld.raw",
    "Content-Disposition": `attachment; filename="${cid}.bin"`,
    "Cache-Control": FOR_EVER,
  });
  if (isUnchanged(request, response, `"${cid}"`)) return;
  await sendPlain(budget, response, Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength));
}

/** A text that changes with the program only. */
export async function sendDocument({ request, response, budget }: Exchange, type: string, text: string): Promise<void> {
  response.set({ "Content-Type": type, "Cache-Control": "no-cache" });
  if (!isUnchanged(request, response, makeStrongTag(text))) await sendCompressed(budget, request, response, text);
}

/** An answer that goes on. Not compressed: each event has to leave at once. */
export function sendEvents(request: Request, response: Response, listen: (listener: Listener) => void): void {
  // nginx would wait for the end.
  response.set({ "Content-Type": EVENT_STREAM, "Cache-Control": "no-store", "X-Accel-Buffering": "no" });
  if (request.method === "HEAD") response.end();
  else listen({ response, lastEventId: request.get("Last-Event-ID") ?? null });
}

function isUnchanged(request: Request, response: Response, tag: string): boolean {
  response.set("ETag", tag);
  if (!matches(request.headers, tag)) return false;
  response.vary("Accept-Encoding");
  response.removeHeader("Content-Type");
  response.status(304).end();
  return true;
}
