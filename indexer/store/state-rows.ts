/**
 * The states after verified anchors, as rows (SPEC 7.4). Each anchor adds the nodes that it touched and shares all others with its base,
 * so every state is there at once, in whatever line it is, and nothing is written when the tip goes to another line.
 */
import type Database from "better-sqlite3";

import { decodeCheckedNode, encodeCheckedNode } from "../../io/state-codec.ts";
import { fromBinaryString, toBinaryString, toHex } from "../../protocol/bytes.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Tip } from "../../protocol/manifest.ts";
import { StateNodes, type NodeRow, type NodeRows } from "../../protocol/state-nodes.ts";
import { State } from "../../protocol/state.ts";
import { finish } from "../../protocol/steps.ts";
import { readMeta, writeMeta } from "./meta.ts";
import { Statements } from "./statements.ts";

/** Nodes are numbered by the anchor that added them: an anchor of 262,144 rooms adds five million at most. */
const NODES_PER_ANCHOR = 2 ** 24;

export class StateRows implements NodeRows {
  private readonly database: Database.Database;
  private readonly statements: Statements;
  private nodes = new StateNodes(this);
  private nextRef = 0;
  private tipIndex: number | null;

  constructor(database: Database.Database) {
    this.database = database;
    this.statements = new Statements(database);
    const tip = readMeta(database, "tip");
    this.tipIndex = tip === null ? null : (JSON.parse(tip) as { anchorIndex: number }).anchorIndex;
  }

  /** The verified anchor with the highest index; null for none. */
  get tip(): number | null {
    return this.tipIndex;
  }

  /** The state after a verified anchor; null for that before the first. Nothing of it is read until it is asked for. */
  stateAt(anchorIndex: number | null): State {
    if (anchorIndex === null) return State.EMPTY;
    const sql = "SELECT ref, hash FROM state_roots WHERE anchor_index = ?";
    const row = this.statements.prepare<{ ref: number | null; hash: Uint8Array }>(sql).get(anchorIndex);
    if (row === undefined) throw new RangeError(`no state is kept of anchor ${anchorIndex}`);
    return State.open(row.ref === null ? null : { ref: row.ref, hash: toBinaryString(row.hash) }, this.nodes);
  }

  /** Keeps the state after a newly verified anchor. @returns the same state, of which nothing is in memory */
  keep(anchorIndex: number, state: State): State {
    return finish(this.keepSteps(anchorIndex, state));
  }

  /** As {@link keep}. A crash between two steps leaves nodes that lead nowhere, and that the next attempt takes out. */
  *keepSteps(anchorIndex: number, state: State): Generator<undefined, State> {
    this.nextRef = anchorIndex * NODES_PER_ANCHOR;
    this.statements.run(
      "DELETE FROM state_nodes WHERE id >= ? AND id < ?",
      this.nextRef,
      this.nextRef + NODES_PER_ANCHOR,
    );
    const saved = yield* state.saveSteps(this.nodes);
    const { link } = saved;
    this.statements.run(
      "INSERT INTO state_roots VALUES (?, ?, ?)",
      anchorIndex,
      link?.ref ?? null,
      link === null ? State.EMPTY.root : fromBinaryString(link.hash),
    );
    return saved;
  }

  /** Where the line of manifests stands from now on. */
  setTip(tip: Pick<Tip, "index" | "cid" | "seq"> | null): void {
    const text = tip && JSON.stringify({ anchorIndex: tip.index, cid: tip.cid, seq: tip.seq });
    writeMeta(this.database, "tip", text);
    writeMeta(this.database, "stateRoot", toHex(this.stateAt(tip?.index ?? null).root));
    this.tipIndex = tip?.index ?? null;
  }

  /** Takes out the states after this anchor and all behind it; the tip has to be before it. */
  truncate(fromAnchor: number): void {
    this.statements.run("DELETE FROM state_roots WHERE anchor_index >= ?", fromAnchor);
    this.statements.run("DELETE FROM state_nodes WHERE id >= ?", fromAnchor * NODES_PER_ANCHOR);
    // Their references will be those of other nodes.
    this.nodes = new StateNodes(this);
  }

  read(ref: number): NodeRow | undefined {
    const sql = "SELECT node FROM state_nodes WHERE id = ?";
    const row = this.statements.prepare<{ node: Uint8Array }>(sql).get(ref);
    return row && decodeCheckedNode(row.node);
  }

  write(row: NodeRow): number {
    this.statements.run("INSERT INTO state_nodes VALUES (?, ?)", this.nextRef, encodeCheckedNode(row));
    return this.nextRef++;
  }

  refusal(ref: number): Error {
    return new DmtpError("DATABASE_DAMAGED", `the index: node ${ref} of the state has other bytes`, {
      hint: "Delete the index: it is rebuilt from chain and content.",
    });
  }
}
