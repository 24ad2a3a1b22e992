/** The nodes of the state tree at the tip (SPEC 7.4) in a table, so that an anchor reads and writes only the paths that it touches. */
import type { Database, Statement } from "better-sqlite3";

import { equal } from "../../protocol/bytes.ts";
import { primitives } from "../../protocol/crypto/provider.ts";
import type { NodeRow } from "../../protocol/state-nodes.ts";
import { decodeNode, encodeNode } from "../state-codec.ts";

/** Prepared statements over the table of schema.ts; transactions and errors are the mailbox's. */
export class NodeTable {
  private readonly get: Statement<[number], [unknown, unknown]>;
  private readonly insert: Statement<[Uint8Array, Uint8Array]>;
  private readonly remove: Statement<[number]>;
  private readonly removeAll: Statement<[]>;

  constructor(database: Database) {
    this.get = database
      .prepare<[number], [unknown, unknown]>("SELECT node, checksum FROM state_nodes WHERE id = ?")
      .raw();
    this.insert = database.prepare("INSERT INTO state_nodes (node, checksum) VALUES (?, ?)");
    this.remove = database.prepare("DELETE FROM state_nodes WHERE id = ?");
    this.removeAll = database.prepare("DELETE FROM state_nodes");
  }

  /** Undefined where there is none, or not what was written: a damaged file can give values of any type. */
  read(ref: number): NodeRow | undefined {
    const [node, checksum] = this.get.get(ref) ?? [];
    if (!(node instanceof Uint8Array) || !(checksum instanceof Uint8Array)) return undefined;
    return equal(checksumOf(node), checksum) ? decodeNode(node) : undefined;
  }

  /** @returns the row's number, which none had before */
  write(row: NodeRow): number {
    const node = encodeNode(row);
    return Number(this.insert.run(node, checksumOf(node)).lastInsertRowid);
  }

  delete(ref: number): void {
    this.remove.run(ref);
  }

  clear(): void {
    this.removeAll.run();
  }
}

/**
 * SHA-256 over the row. The state root covers all of it but the anchor that touched a room last, which goes into the heads of the next
 * anchor: a wrong one would have that anchor rejected.
 */
function checksumOf(node: Uint8Array): Uint8Array {
  return primitives.sha256(node);
}
