/** What a sender has sealed and not yet seen final: the very bytes, so that sending again is sending once. */
import type { Cid } from "../protocol/cid.ts";
import type { Receipt } from "../protocol/receipt.ts";

export interface OutboxEntry {
  readonly cid: Cid;
  readonly block: Uint8Array;
  /** The relay's promise, kept since it proves what the relay owes. Null until the relay has acknowledged the message, and for ever where it promises nothing. */
  readonly receipt: Receipt | null;
}

/** Where entries are kept. What `put` has resolved for is there after a crash; entries come in the order in which they were first put. */
export interface Outbox {
  entries(): Promise<readonly OutboxEntry[]>;
  /** Adds an entry, or replaces the one with its CID. */
  put(entry: OutboxEntry): Promise<void>;
  /** Puts an entry in the place of another, at once: the message was sealed anew. */
  replace(cid: Cid, entry: OutboxEntry): Promise<void>;
  remove(cid: Cid): Promise<void>;
}

/** An outbox that ends with the process: what is in it then is lost unless the relay has acknowledged it. */
export class MemoryOutbox implements Outbox {
  private readonly held = new Map<Cid, OutboxEntry>();

  entries(): Promise<readonly OutboxEntry[]> {
    return Promise.resolve([...this.held.values()]);
  }

  put(entry: OutboxEntry): Promise<void> {
    this.held.set(entry.cid, entry);
    return Promise.resolve();
  }

  replace(cid: Cid, entry: OutboxEntry): Promise<void> {
    this.held.delete(cid);
    return this.put(entry);
  }

  remove(cid: Cid): Promise<void> {
    this.held.delete(cid);
    return Promise.resolve();
  }
}
