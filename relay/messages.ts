/** Messages as the relay tells of them. */
import type { Plain } from "../client/api/schema.ts";
import type { receiptSchema, relayedMessageSchema } from "../client/api/relay.ts";
import type { EventLog, EventWindow } from "../http/live/event-log.ts";
import type { Mailbox } from "../io/mailbox/mailbox.ts";
import type { RelayedFilter, RelayedMessage } from "../io/mailbox/relayed.ts";
import { toHex } from "../protocol/bytes.ts";
import type { Receipt } from "../protocol/receipt.ts";

export type MessageAnswer = Plain<typeof relayedMessageSchema>;

/** @param hasBlock whether the envelope's bytes go with it */
export function describeMessage(message: RelayedMessage, hasBlock: boolean): MessageAnswer {
  const { change: _, code, receipt, block, ...rest } = message;
  return {
    ...rest,
    rejection: code,
    receipt: receipt === null ? null : describeReceipt(receipt),
    ...(hasBlock && { block: Buffer.from(block).toString("base64") }),
  };
}

function describeReceipt({ cid: _, path, signature, ...rest }: Receipt): Plain<typeof receiptSchema> {
  return { ...rest, path: path.map(toHex), signature: toHex(signature) };
}

/** The block up to which the relay has read the chain; null before the first. */
export function readHeight(mailbox: Mailbox): { block: number; hash: string } | null {
  const view = mailbox.log.view();
  return view === null ? null : { block: view.number, hash: view.hash };
}

/** That height, and what is final there; null while nothing is. */
export function describeView(mailbox: Mailbox): { at: ReturnType<typeof readHeight>; finalized: number | null } {
  const finalized = mailbox.log.view()?.finalized ?? -1;
  return { at: readHeight(mailbox), finalized: finalized < 0 ? null : finalized };
}

/** Places that one look walks over. */
const WINDOW = 1_000;

/** The mailbox's changes as live updates. A message that is pending comes with its block; later the indexer has it. */
export class MessageEvents implements EventLog<RelayedFilter> {
  /** Of this file: a mailbox that was restored or made anew has other places. */
  readonly name: string;
  private readonly mailbox: Mailbox;

  constructor(mailbox: Mailbox) {
    this.mailbox = mailbox;
    this.name = mailbox.relayed.name;
  }

  get end(): number {
    return this.mailbox.relayed.end();
  }

  reaches(place: number): boolean {
    return place <= this.end;
  }

  look<T>(filter: RelayedFilter, after: number, limit: number, take: (window: EventWindow) => T): T {
    return this.mailbox.snapshot(() => {
      const last = Math.min(this.end, after + WINDOW);
      const messages = this.mailbox.relayed.changes(filter, after, last, limit);
      const end = messages.length === limit ? (messages.at(-1)?.change ?? last) : Math.max(after, last);
      return take({
        events: messages.map((message) => ({
          id: message.change,
          name: "message",
          data: describeMessage(message, message.state === "pending"),
        })),
        end,
        hasMore: end < this.end,
        cost: messages.length + Math.ceil((end - after) / 10) + 1,
        height: describeView(this.mailbox),
      });
    });
  }
}
