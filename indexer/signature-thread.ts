/** The thread that signature-threads.ts starts: verifies batches of messages, and answers each with a byte for each message. */
import { parentPort } from "node:worker_threads";

import { KEY_BYTES } from "../protocol/crypto/lengths.ts";
import { primitives } from "../protocol/crypto/provider.ts";
import { claimOf } from "../protocol/entry.ts";
import { decodeEnvelope } from "../protocol/envelope.ts";

/** Messages one behind the other, as one piece of memory is handed over for less than many. */
export interface Batch {
  readonly blocks: Uint8Array<ArrayBuffer>;
  /** Where each block ends. */
  readonly ends: readonly number[];
  /** The senders' keys, 32 bytes each. */
  readonly keys: Uint8Array<ArrayBuffer>;
}

/** 1 where the message is signed by its key, 0 where it is not. */
export type Answers = Uint8Array<ArrayBuffer>;

parentPort?.on("message", ({ blocks, ends, keys }: Batch) => {
  const claims = ends.map((end, i) => {
    const block = blocks.subarray(ends[i - 1] ?? 0, end);
    return claimOf(decodeEnvelope(block), keys.subarray(KEY_BYTES * i, KEY_BYTES * (i + 1)));
  });
  const answers: Answers = Uint8Array.from(primitives.ed25519Verify(claims), Number);
  parentPort?.postMessage(answers, [answers.buffer]);
});
