import { createWriteStream } from "node:fs";
import { join } from "node:path";
import { pipeline } from "node:stream/promises";

import { expect } from "chai";

import { AbsenceLog } from "../../io/absence-log.ts";
import { ArchiveFile } from "../../io/archive-file.ts";
import { ArchiveExport } from "../../io/archive.ts";
import { BlockFinder } from "../../io/block-finder.ts";
import { rebuild } from "../../io/history.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, deltaOf, DEPLOYMENT, History } from "../fixtures/history.ts";

/** Instead of 30 s. */
const SEARCH_MS = 100;
const NOTHING = 300;

describe("A message that a doubtful anchor lists first, at a source that searches long", function () {
  this.timeout(30_000);
  const folder = useFolder();
  let history: History;
  let message: Cid;
  /** Not stored yet. */
  let withheld: Set<Cid>;
  let asked: Cid[];

  beforeEach(() => {
    history = new History();
    for (const person of [ALICE, BOB]) history.register(person);
    message = history.message(ALICE, BOB);
    // Whoever may anchor can list what others wrote, behind what nobody has: blocks are asked for in the order of the history.
    const nothing = Array.from({ length: NOTHING }, (_, i) => cidOf(encode(["nothing", i])));
    history.anchor(deltaOf([history.room(ALICE, BOB), [...nothing, message]]), null);
    withheld = new Set();
    asked = [];
  });

  /** A source that has what is not withheld, as a command asks it in a run of its own. */
  async function ask<T>(work: (finder: BlockFinder) => Promise<T>): Promise<T> {
    asked = [];
    const absences = new AbsenceLog(folder(), "a source");
    const find = (cid: Cid): Uint8Array | null => (withheld.has(cid) ? null : (history.blocks.get(cid) ?? null));
    const content = {
      name: "a source that searches",
      get: async (cid: Cid) => {
        asked.push(cid);
        await new Promise((resolve) => setTimeout(resolve, find(cid) === null ? SEARCH_MS : 1));
        return find(cid);
      },
    };
    try {
      return await work(
        new BlockFinder(content, { absences, times: { againMs: 2 * SEARCH_MS, doubtMs: 2 * SEARCH_MS } }),
      );
    } finally {
      absences.close();
    }
  }

  /** What a command finds, in a run of its own. @returns the verdicts on the message, by anchor */
  async function run(): Promise<string[]> {
    const replay = await ask((finder) => rebuild(DEPLOYMENT, history.events, finder));
    const entries = replay.entries(history.room(ALICE, BOB)).filter(({ cid }) => cid === message);
    return entries.map(({ verdict }) => (verdict.status === "rejected" ? verdict.code : verdict.status));
  }

  it("is asked for like any other where another anchor lists it too", async () => {
    history.anchor(deltaOf([history.room(ALICE, BOB), [message]]), null);
    expect(await run()).to.deep.equal(["verified", "DUPLICATE"]);
    expect(asked.length).to.be.lessThan(60);
  });

  it("is asked for like any other once another anchor lists it, in a later run than the one that took it for absent", async () => {
    withheld.add(message);
    expect(await run()).to.deep.equal(["missing"]);
    withheld.clear();
    history.anchor(deltaOf([history.room(ALICE, BOB), [message]]), null);
    expect(await run()).to.deep.equal(["verified", "DUPLICATE"]);
    // What nobody has is not asked for anew.
    expect(asked.length).to.be.lessThan(50);
  });

  it("is not asked for at once where the same anchors list it", async () => {
    withheld.add(message);
    await run();
    await run();
    expect(asked.length).to.be.lessThan(15);
  });

  it("is in an archive at each of its places or at none, so that the file can be read", async () => {
    for (const [i, order] of ["behind", "before"].entries()) {
      const story = new History();
      for (const person of [ALICE, BOB]) story.register(person);
      const cid = story.message(ALICE, BOB);
      const room = story.room(ALICE, BOB);
      const nothing = Array.from({ length: NOTHING }, (_, n) => cidOf(encode([order, n])));
      const anchors = [[...nothing, cid], [cid]];
      for (const listed of order === "behind" ? anchors : anchors.toReversed()) {
        story.anchor(deltaOf([room, listed]), null);
      }
      history = story;
      const path = join(folder(), `${i}.car`);
      const scope = { room: null, wallet: null, since: 0 };
      const subject = { deployment: DEPLOYMENT, events: story.events, scope };
      await ask((finder) => pipeline(new ArchiveExport(subject, finder).bytes(), createWriteStream(path)));
      await (await ArchiveFile.open(path)).close();
    }
  });
});
