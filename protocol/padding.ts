/** Padmé (Nikitin et al., "Reducing Metadata Leakage from Encrypted Files", PETS 2019): lengths leak O(log log n) bits. */
import { DmtpError } from "./error.ts";

const LENGTH_BYTES = 4;
/** Short messages all look alike. */
const MIN_PADDED_BYTES = 128;

/** The padded size of `sizeBytes` bytes: at most 12 % more. */
export function padmeLength(sizeBytes: number): number {
  if (sizeBytes <= MIN_PADDED_BYTES) return MIN_PADDED_BYTES;
  const exponent = Math.floor(Math.log2(sizeBytes));
  const mantissaBits = Math.floor(Math.log2(exponent)) + 1;
  const step = 2 ** (exponent - mantissaBits);
  return Math.ceil(sizeBytes / step) * step;
}

/** Whether a padded plaintext can have this size: anyone can see it of a ciphertext. */
export function isPaddedLength(sizeBytes: number): boolean {
  return sizeBytes >= MIN_PADDED_BYTES && padmeLength(sizeBytes) === sizeBytes;
}

/** SPEC 6.2: uint32 length ‖ bytes ‖ zeros, to the Padmé size. */
export function pad(bytes: Uint8Array): Uint8Array {
  const padded = new Uint8Array(padmeLength(LENGTH_BYTES + bytes.length));
  new DataView(padded.buffer).setUint32(0, bytes.length);
  padded.set(bytes, LENGTH_BYTES);
  return padded;
}

/** @throws CONTENT_MALFORMED unless the padding is exactly what {@link pad} makes. */
export function unpad(padded: Uint8Array): Uint8Array {
  if (padded.length < MIN_PADDED_BYTES) throw new DmtpError("CONTENT_MALFORMED", "shorter than any padded plaintext");
  const length = new DataView(padded.buffer, padded.byteOffset).getUint32(0);
  if (length > padded.length - LENGTH_BYTES || padmeLength(LENGTH_BYTES + length) !== padded.length) {
    throw new DmtpError("CONTENT_MALFORMED", "the padded size is not the one for this length");
  }
  for (let i = LENGTH_BYTES + length; i < padded.length; i++) {
    if (padded[i] !== 0) throw new DmtpError("CONTENT_MALFORMED", "the padding is not zero");
  }
  return padded.subarray(LENGTH_BYTES, LENGTH_BYTES + length);
}
