import Database from "better-sqlite3";
import { expect } from "chai";
import fc from "fast-check";

import { readOmissions } from "../../indexer/read/omissions.ts";
import { OmissionRows } from "../../indexer/store/omission-rows.ts";
import { SCHEMA } from "../../indexer/store/schema.ts";
import { concat } from "../../protocol/bytes.ts";
import { cidOf, cidOfDigest, digestOfCid, type Cid } from "../../protocol/cid.ts";
import type { MessageSummary } from "../../protocol/entry.ts";
import { findOmissions } from "../../protocol/omissions.ts";
import { comparePlaces, type Place } from "../../protocol/replay/store.ts";
import { VERIFIED } from "../../protocol/verdict.ts";
import { ALICE, BOB } from "../fixtures/history.ts";

const ROOM = 1;
const MESSAGES = 8;
const cids = Array.from({ length: MESSAGES }, (_, i) => cidOf(Uint8Array.of(i)));

/** The rows of one room, and beside them the list of its verified messages. */
class World {
  readonly database = new Database(":memory:");
  readonly verified = new Map<number, { readonly place: Place; readonly message: MessageSummary }>();
  private readonly rows: OmissionRows;

  constructor() {
    this.database.exec(SCHEMA);
    const add = this.database.prepare<[number, Cid]>("INSERT INTO cids VALUES (?, ?)");
    cids.forEach((cid, i) => add.run(i + 1, cid));
    this.rows = new OmissionRows(this.database, (cid) => {
      const i = cids.indexOf(cid);
      return { cidId: i + 1, place: this.verified.get(i)?.place ?? null };
    });
  }

  /** A message is verified at a place, or at an earlier one than it was. */
  verify(i: number, place: Place, newMessage: MessageSummary): void {
    const before = this.verified.get(i);
    const message = before?.message ?? newMessage;
    if (before !== undefined && comparePlaces(before.place, place) <= 0) return;
    for (const { place: taken } of this.verified.values()) if (comparePlaces(taken, place) === 0) return;
    this.database
      .prepare(
        `INSERT INTO entries (anchor_index, ordinal, room_number, cid_id, status, sender, sender_key_version, seq, seen)
         VALUES (?, ?, ?, ?, 'verified', ?, ?, ?, ?) ON CONFLICT DO NOTHING`,
      )
      .run(
        ...[place.anchorIndex, place.ordinal, ROOM, i + 1],
        ...[message.sender, message.senderKeyVersion, message.seq, concat(...message.seen)],
      );
    this.verified.set(i, { place, message });
    this.rows.add({ ...place, roomNumber: ROOM, cidId: i + 1 }, message);
    if (before === undefined) return;
    this.rows.leave(before.place);
    const { anchorIndex, ordinal } = before.place;
    this.database.prepare("DELETE FROM entries WHERE anchor_index = ? AND ordinal = ?").run(anchorIndex, ordinal);
  }

  truncate(fromAnchor: number): void {
    this.rows.truncate(fromAnchor);
    this.database.prepare("DELETE FROM entries WHERE anchor_index >= ?").run(fromAnchor);
    for (const [i, { place }] of this.verified) if (place.anchorIndex >= fromAnchor) this.verified.delete(i);
  }

  said(): unknown {
    this.rows.flush();
    return readOmissions({ all: (sql, ...values) => this.database.prepare(sql).all(...values) as never }, ROOM);
  }

  expected(): unknown {
    const entries = [...this.verified].sort(([, a], [, b]) => comparePlaces(a.place, b.place));
    const { gaps, forks, unseen } = findOmissions(
      entries.map(([i, { message }]) => ({ cid: cids[i]!, verdict: VERIFIED, message })),
    );
    return { gaps, forks, unseen: unseen.map(cidOfDigest) };
  }

  count(table: string): number {
    return this.database.prepare<[], number>(`SELECT count(*) FROM ${table}`).pluck().get()!;
  }
}

function message(
  sender: MessageSummary["sender"],
  version: number,
  seq: number,
  seen: readonly number[],
): MessageSummary {
  return {
    sender,
    receiver: BOB.address,
    senderKeyVersion: version,
    receiverKeyVersion: 1,
    seq,
    timestamp: 1,
    sizeBytes: 100,
    seen: seen.map((i) => digestOfCid(cids[i]!)),
    binding: "signature",
  };
}

describe("What a room's messages say is missing, by the rows of an index", () => {
  const index = fc.nat(MESSAGES - 1);
  const said = fc.record({
    sender: fc.constantFrom(ALICE.address, BOB.address),
    version: fc.integer({ min: 1, max: 2 }),
    seq: fc.integer({ min: 1, max: 7 }),
    seen: fc.uniqueArray(index, { maxLength: 4 }),
  });
  const step = fc.oneof(
    { weight: 6, arbitrary: fc.record({ verify: index, anchorIndex: fc.nat(5), ordinal: fc.nat(3), said }) },
    { weight: 1, arbitrary: fc.record({ truncate: fc.nat(5) }) },
  );

  it("is what the list of them says, in whatever order they come, move and are taken back", () => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
        const world = new World();
        for (const each of steps) {
          if ("truncate" in each) world.truncate(each.truncate);
          else {
            const { sender, version, seq, seen } = each.said;
            // No message names itself.
            const others = seen.filter((i) => i !== each.verify);
            world.verify(each.verify, each, message(sender, version, seq, others));
          }
          expect(world.said()).to.deep.equal(world.expected());
        }
        world.truncate(0);
        for (const table of ["sequence_runs", "sequence_forks", "named_ahead", "unseen"])
          expect(world.count(table), table).to.equal(0);
        world.database.close();
      }),
      { numRuns: 300 },
    );
  });

  it("is a row for each key version where nothing is missing, however many messages there are", () => {
    const world = new World();
    for (let i = 0; i < MESSAGES; i++) {
      const sender = i % 2 === 0 ? ALICE : BOB;
      const seen = i === 0 ? [] : [i - 1];
      world.verify(i, { anchorIndex: i, ordinal: 0 }, message(sender.address, 1, Math.floor(i / 2) + 1, seen));
    }
    expect(world.said()).to.deep.equal({ gaps: [], forks: [], unseen: [] });
    expect(["sequence_runs", "named_ahead", "unseen"].map((table) => world.count(table))).to.deep.equal([2, 0, 0]);
    world.database.close();
  });
});
