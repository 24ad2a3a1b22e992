/** Bytes by CID and answers by signature: true whatever the chain does, so a rollback leaves them alone. */
import type Database from "better-sqlite3";

import { concat } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import type { SignatureClaim } from "../../protocol/crypto/primitives.ts";
import { primitives } from "../../protocol/crypto/provider.ts";

export class ContentCache {
  private readonly getBytes: Database.Statement<[Cid], { bytes: Uint8Array }>;
  private readonly hasBytes: Database.Statement<[Cid]>;
  private readonly putBytes: Database.Statement<[Cid, Uint8Array]>;
  private readonly getAnswer: Database.Statement<[Uint8Array], { valid: number }>;
  private readonly putAnswer: Database.Statement<[Uint8Array, number]>;

  constructor(database: Database.Database) {
    this.getBytes = database.prepare("SELECT bytes FROM content WHERE cid = ?");
    this.hasBytes = database.prepare("SELECT 1 FROM content WHERE cid = ?");
    // Replaces: bytes that the disk damaged fail their CID's check, are fetched again and arrive here.
    this.putBytes = database.prepare("INSERT OR REPLACE INTO content VALUES (?, ?)");
    this.getAnswer = database.prepare("SELECT valid FROM signatures WHERE hash = ?");
    this.putAnswer = database.prepare("INSERT OR REPLACE INTO signatures VALUES (?, ?)");
  }

  get(cid: Cid): Uint8Array | undefined {
    const bytes = this.getBytes.get(cid)?.bytes;
    // A Buffer from SQLite owns its memory; a plain view of it is what protocol/ takes and gives.
    return bytes === undefined ? undefined : new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  has(cid: Cid): boolean {
    return this.hasBytes.get(cid) !== undefined;
  }

  put(cid: Cid, bytes: Uint8Array): void {
    this.putBytes.run(cid, bytes);
  }

  /** Verifies signatures, each of them once in the life of the index. */
  verifySignatures(claims: readonly SignatureClaim[]): boolean[] {
    const hashes = claims.map(hashOf);
    const answers = hashes.map((hash) => this.getAnswer.get(hash)?.valid);
    const unknown = answers.flatMap((answer, i) => (answer === undefined ? [i] : []));
    const verified = primitives.ed25519Verify(unknown.flatMap((i) => claims[i] ?? []));
    unknown.forEach((i, at) => {
      const answer = verified[at] === true ? 1 : 0;
      answers[i] = answer;
      const hash = hashes[i];
      if (hash !== undefined) this.putAnswer.run(hash, answer);
    });
    return answers.map((answer) => answer === 1);
  }
}

/** Key and signature have fixed sizes in a decoded envelope and a registered key, so no two claims run together. */
function hashOf({ publicKey, message, signature }: SignatureClaim): Uint8Array {
  return primitives.sha256(concat(publicKey, signature, message));
}
