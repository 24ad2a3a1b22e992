/**
 * Reads messages ahead: while the index writes what came before, other threads verify signatures. It only remembers answers that
 * would be the same later; who asks for one that it does not have finds it out by himself.
 */
import { equal } from "../protocol/bytes.ts";
import { decodeEnvelope, type Envelope } from "../protocol/envelope.ts";
import type { KeyHistory } from "../protocol/keys.ts";
import type { SignatureThreads } from "./signature-threads.ts";

interface Reading {
  readonly envelope: Envelope;
  readonly publicKey: Uint8Array;
  /** Null when no thread could say. */
  readonly isValid: boolean | null;
}

/** Larger blocks are rarely messages, and to read a shard in vain costs more than it brings. */
const MAX_BLOCK_BYTES = 16_384;

export class MessageReader {
  /** By the block's bytes, for as long as somebody holds them. */
  private readonly readings = new WeakMap<Uint8Array, Reading>();
  private readonly threads: SignatureThreads | null;

  /** @param threads null reads nothing ahead */
  constructor(threads: SignatureThreads | null = null) {
    this.threads = threads;
  }

  /**
   * Resolves when the signature of a message is verified, by the key that its sender has now; at once when the block is none.
   * Never rejects.
   */
  async readAhead(block: Uint8Array, keysOf: (wallet: Envelope["sender"]) => KeyHistory): Promise<void> {
    if (this.threads === null || block.length > MAX_BLOCK_BYTES) return;
    try {
      const envelope = decodeEnvelope(block);
      const key = keysOf(envelope.sender).find(({ event }) => event.version === envelope.senderKeyVersion);
      if (key === undefined || !("verdict" in key)) return;
      const publicKey = key.event.signingKey;
      const isValid = await this.threads.verify(block, publicKey);
      this.readings.set(block, { envelope, publicKey, isValid });
    } catch {
      // No envelope, or a disk that can't be read: it is judged, or refused, when it is delivered.
    }
  }

  /** As decodeEnvelope. */
  readonly decode = (block: Uint8Array): Envelope => this.readings.get(block)?.envelope ?? decodeEnvelope(block);

  /** Whether the message is signed by this key; null when that is still to be verified. */
  isSignedBy(block: Uint8Array, publicKey: Uint8Array): boolean | null {
    const reading = this.readings.get(block);
    return reading !== undefined && equal(reading.publicKey, publicKey) ? reading.isValid : null;
  }
}
