import { concat, utf8 } from "./bytes.ts";

const labels = new Map<string, Uint8Array>();

/** SPEC 1.3, domain separation: ASCII `DMTP/1 ` and the purpose, closed by a zero byte, stands first in all that is hashed or derived. */
export function label(purpose: string): Uint8Array {
  let bytes = labels.get(purpose);
  if (bytes === undefined) {
    bytes = concat(utf8(`DMTP/1 ${purpose}`), Uint8Array.of(0));
    labels.set(purpose, bytes);
  }
  return bytes;
}
