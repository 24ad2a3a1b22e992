/** Live updates by server-sent events (HTML, 9.2), over fetch: in Node and browsers alike, and with an id to begin at. */
import { createParser, type ParseError } from "eventsource-parser";

import type { Address } from "../protocol/address.ts";
import { computeBackoffMs } from "../protocol/backoff.ts";
import { DmtpError } from "../protocol/error.ts";
import type { RoomId } from "../protocol/room.ts";
import type { AnchorAnswer } from "./api/chain.ts";
import { parseAnswer } from "./api/check.ts";
import { eventSchemas } from "./api/events.ts";
import type { MessageAnswer } from "./api/rooms.ts";
import type { Height } from "./api/values.ts";
import { queryText, type Transport } from "./transport.ts";
import { toWalletKey, type WalletKey } from "./wallet-key.ts";

export type LiveEvent = { readonly id: string } & (
  | { readonly name: "message"; readonly message: MessageAnswer }
  | { readonly name: "anchor"; readonly anchor: AnchorAnswer }
  | { readonly name: "key"; readonly wallet: Address; readonly key: WalletKey }
  /** Everything above `to` is taken back: all of it, when that is null. */
  | { readonly name: "reorg"; readonly to: Height; readonly depth: number; readonly cause: "reorg" | "gap" }
  /** Everything up to `at` has been told. */
  | { readonly name: "height"; readonly at: Height; readonly finalized: number | null }
  /** The id to begin at is not known: what is kept from before has to be read again. */
  | { readonly name: "reset"; readonly reason: string }
);

export interface LiveOptions {
  /** Only this room's messages. */
  readonly room?: RoomId;
  /** Only messages of this wallet's rooms, and its keys. */
  readonly wallet?: Address;
  /** The id of the last event that was taken; without it, only what is new is told. */
  readonly after?: string;
  readonly signal?: AbortSignal;
  readonly pause?: (ms: number) => Promise<void>;
}

const FIRST_PAUSE_MS = 500;
const MAX_PAUSE_MS = 30_000;
/** Longer than any event: a message without its block. */
const MAX_EVENT_CHARACTERS = 1_000_000;

/** @throws what the indexer refuses for good; what may pass is tried again, ever more rarely */
export function listen(transport: Transport, { room, wallet, ...options }: LiveOptions): AsyncGenerator<LiveEvent> {
  return follow(transport, `/v1/events${queryText({ room, wallet })}`, parseEvent, options);
}

/** How a stream of events is gone on with; see {@link LiveOptions}. */
export type FollowOptions = Pick<LiveOptions, "after" | "signal" | "pause">;

/**
 * The events of a service's stream, for as long as they are asked for.
 * @param parse null for an event that a newer service knows
 * @throws what the service refuses for good; what may pass is tried again, ever more rarely
 */
export async function* follow<Event>(
  transport: Transport,
  path: string,
  parse: (name: string, data: string, id: string) => Event | null,
  options: FollowOptions,
): AsyncGenerator<Event> {
  const { signal = new AbortController().signal, pause = sleep } = options;
  let { after } = options;
  // A function, since a value that was looked at before a wait is not believed to have changed after it.
  const isOver = (): boolean => signal.aborted;
  let failures = 0;
  while (!isOver()) {
    // Ends the connection too when whoever asks for events stops to.
    const done = new AbortController();
    try {
      const headers = { Accept: "text/event-stream", ...(after !== undefined && { "Last-Event-ID": after }) };
      const response = await transport.stream(path, headers, AbortSignal.any([signal, done.signal]));
      for await (const { id, event = "message", data } of readParts(response)) {
        failures = 0;
        if (id !== undefined) after = id === "" ? undefined : id;
        const told = data === undefined ? null : parse(event, data, after ?? "");
        if (told !== null) yield told;
      }
    } catch (error) {
      if (isOver()) return;
      if (error instanceof DmtpError && error.kind !== "unavailable") throw error;
    } finally {
      done.abort();
    }
    failures += 1;
    await pause(computeBackoffMs(failures, FIRST_PAUSE_MS, MAX_PAUSE_MS));
  }
}

/** What a stream told: an event, an id alone, or nothing, by which a proxy is kept from closing it. */
interface Part {
  readonly id?: string | undefined;
  readonly event?: string | undefined;
  readonly data?: string;
}

async function* readParts(response: Response): AsyncGenerator<Part> {
  const parts: Part[] = [];
  const errors: ParseError[] = [];
  const parser = createParser({
    maxBufferSize: MAX_EVENT_CHARACTERS,
    onId: (id) => parts.push({ id }),
    onEvent: (message) => parts.push(message),
    onComment: () => parts.push({}),
    onError: (error) => errors.push(error),
  });
  const decoder = new TextDecoder();
  const reader = response.body?.getReader();
  for (let chunk = await reader?.read(); chunk?.done === false; chunk = await reader?.read()) {
    parser.feed(decoder.decode(chunk.value, { stream: true }));
    if (errors.some(({ type }) => type === "max-buffer-size-exceeded"))
      throw new DmtpError("ANSWER_MALFORMED", "an event that does not end");
    yield* parts.splice(0);
  }
}

/** Null for an event that a newer indexer knows. */
function parseEvent(name: string, data: string, id: string): LiveEvent | null {
  if (!isEventName(name)) return null;
  const value = parseJson(data);
  switch (name) {
    case "message":
      return { id, name, message: parseAnswer(eventSchemas.message, value, name) };
    case "anchor":
      return { id, name, anchor: parseAnswer(eventSchemas.anchor, value, name) };
    case "key": {
      const { wallet, key } = parseAnswer(eventSchemas.key, value, name);
      return { id, name, wallet, key: toWalletKey(key, wallet) };
    }
    case "reorg":
      return { ...parseAnswer(eventSchemas.reorg, value, name), id, name };
    case "height":
      return { ...parseAnswer(eventSchemas.height, value, name), id, name };
    case "reset":
      return { ...parseAnswer(eventSchemas.reset, value, name), id, name };
  }
}

function isEventName(name: string): name is keyof typeof eventSchemas {
  return Object.hasOwn(eventSchemas, name);
}

export function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new DmtpError("ANSWER_MALFORMED", "an event's data are not JSON", { cause });
  }
}

function sleep(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}
