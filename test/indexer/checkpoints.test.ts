import { statSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as nextTurn } from "node:timers/promises";

import { expect } from "chai";

import { Checkpoints } from "../../indexer/store/checkpoints.ts";
import { openIndex, type IndexDatabase } from "../../indexer/store/database.ts";
import { useFolder } from "../fixtures/folder.ts";
import { DEPLOYMENT } from "../fixtures/history.ts";
import { waitFor } from "../fixtures/indexer-client.ts";

const MIB = 1024 * 1024;

describe("The checkpoints of an index", () => {
  const folder = useFolder();
  const path = (): string => join(folder(), "index");

  /** One transaction of a MiB. */
  function write({ database }: IndexDatabase, id: number): void {
    database.prepare("INSERT OR REPLACE INTO content VALUES (?, ?)").run(id, Buffer.alloc(MIB, id));
  }

  const logBytes = (): number => statSync(`${path()}-wal`).size;

  it("keep the log short while transactions follow one another, which none of them waits for", async () => {
    const index = openIndex(path(), DEPLOYMENT, () => undefined);
    const checkpoints = new Checkpoints(index.database, () => undefined, {
      startMs: 0,
      intervalMs: 10,
      longPages: (2 * MIB) / 4_096,
    });
    let written = 0;
    const started = statSync(path()).size;
    await waitFor("the first checkpoint", async () => {
      write(index, written++ % 8);
      await nextTurn();
      return statSync(path()).size > started;
    });
    const first = logBytes();
    for (let i = 0; i < 64; i++) {
      write(index, written++ % 8);
      await nextTurn();
    }
    expect(logBytes()).to.be.below(first + 32 * MIB);
    await checkpoints.close();
    index.close();
    expect(
      openIndex(path(), DEPLOYMENT, () => undefined)
        .database.prepare("SELECT count(*) FROM content")
        .pluck()
        .get(),
    ).to.equal(8);
  });

  it("are done without when the thread fails, which the log says once", async () => {
    const index = openIndex(path(), DEPLOYMENT, () => undefined);
    const lines: string[] = [];
    const gone = { name: join(folder(), "gone", "index"), open: true } as unknown as IndexDatabase["database"];
    const checkpoints = new Checkpoints(gone, (line) => lines.push(line), { startMs: 0 });
    await waitFor("the failure", () => Promise.resolve(lines.length > 0));
    await checkpoints.close();
    expect(lines).to.have.lengthOf(1);
    expect(lines[0]).to.match(/^the thread that makes checkpoints failed: .*; they are made without it$/);
    write(index, 1);
    index.close();
  });
});
