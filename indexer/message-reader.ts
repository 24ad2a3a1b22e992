/**
 * Reads messages ahead: while the index writes what came before, other threads verify signatures. It only remembers answers that
 * would be the same later; who asks for one that it does not have finds it out by himself.
 */
import { setImmediate as nextTurn } from "node:timers/promises";

import { equal } from "../protocol/bytes.ts";
import { headerOf, type SignedHeader } from "../protocol/entry.ts";
import { decodeEnvelope } from "../protocol/envelope.ts";
import type { KeyHistory } from "../protocol/keys.ts";
import type { EnvelopeReader } from "../protocol/replay/entry-judge.ts";
import type { Question, SignatureThreads } from "./signature-threads.ts";

interface Reading extends Question {
  readonly header: SignedHeader;
  /** Null when no thread could say, or has not said so far. */
  isValid: boolean | null;
}

/** Larger blocks are rarely messages, and reading a shard without finding one costs more than it brings. */
const MAX_BLOCK_BYTES = 16_384;
/** Decoded one after the other, before somebody else has a turn. */
const STEP_BLOCKS = 256;

export class MessageReader implements EnvelopeReader {
  /** By the block's bytes, for as long as somebody holds them. */
  private readonly readings = new WeakMap<Uint8Array, Reading>();
  private readonly threads: SignatureThreads | null;

  /** @param threads null reads nothing ahead */
  constructor(threads: SignatureThreads | null = null) {
    this.threads = threads;
  }

  /**
   * Resolves when the signatures of those that are messages are verified, each by the key that its sender has now. Never rejects.
   */
  async readAhead(blocks: Iterable<Uint8Array>, keysOf: (wallet: SignedHeader["sender"]) => KeyHistory): Promise<void> {
    const { threads } = this;
    if (threads === null) return;
    const batches: Promise<void>[] = [];
    let readings: Reading[] = [];
    let looked = 0;
    for (const block of blocks) {
      const reading = read(block, keysOf);
      if (reading !== null) readings.push(reading);
      looked += 1;
      if (looked % STEP_BLOCKS !== 0) continue;
      batches.push(this.verify(threads, readings));
      readings = [];
      await nextTurn();
    }
    batches.push(this.verify(threads, readings));
    await Promise.all(batches);
  }

  /** @throws as decodeEnvelope */
  headerOf(block: Uint8Array): SignedHeader {
    return this.readings.get(block)?.header ?? headerOf(decodeEnvelope(block));
  }

  /** Whether the message is signed by this key; null when that is still to be verified. */
  isSignedBy(block: Uint8Array, publicKey: Uint8Array): boolean | null {
    const reading = this.readings.get(block);
    return reading !== undefined && equal(reading.publicKey, publicKey) ? reading.isValid : null;
  }

  private async verify(threads: SignatureThreads, readings: readonly Reading[]): Promise<void> {
    const answers = await threads.verify(readings);
    readings.forEach((reading, i) => {
      reading.isValid = answers[i] ?? null;
      this.readings.set(reading.block, reading);
    });
  }
}

/** Null for a block that is no message, or whose sender has no such key. */
function read(block: Uint8Array, keysOf: (wallet: SignedHeader["sender"]) => KeyHistory): Reading | null {
  if (block.length > MAX_BLOCK_BYTES) return null;
  try {
    const header = headerOf(decodeEnvelope(block));
    const key = keysOf(header.sender).find(({ event }) => event.version === header.senderKeyVersion);
    if (key === undefined || !("verdict" in key)) return null;
    return { block, header, publicKey: key.event.signingKey, isValid: null };
  } catch {
    // No envelope, or a disk that can't be read: it is judged, or refused, when it is delivered.
    return null;
  }
}
