import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import { EmbeddedStore } from "../../io/content/embedded.ts";
import { Mailbox } from "../../io/mailbox/mailbox.ts";
import { digestOfCid, type Cid } from "../../protocol/cid.ts";
import { decodeEnvelope } from "../../protocol/envelope.ts";
import type { Block } from "../../protocol/manifest.ts";
import { pin } from "../../tasks/pin.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, History } from "../fixtures/history.ts";
import { IDENTITY } from "../fixtures/identity.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";

/** Notes what it is sent. */
class WatchedStore extends EmbeddedStore {
  readonly sent: Cid[] = [];

  override put(blocks: readonly Block[]): Promise<void> {
    this.sent.push(...blocks.map(({ cid }) => cid));
    return super.put(blocks);
  }
}

describe("pin", () => {
  const folder = useFolder();
  const history = new History();
  const cids = Array.from({ length: 2_500 }, (_, i) => history.message(ALICE, BOB, { seq: i + 1 }));
  const blocks = cids.map((cid) => ({ cid, bytes: history.blocks.get(cid)! }));
  const progress: string[] = [];
  const terminal = {
    result: () => undefined,
    note: () => undefined,
    progress: (text: string | null) => void progress.push(text ?? ""),
  };
  let mailbox: Mailbox;
  let content: WatchedStore;

  beforeEach(() => {
    mailbox = Mailbox.open(folder(), IDENTITY);
    content = new WatchedStore(join(folder(), "blocks"));
    mailbox.add(blocks.map(({ cid, bytes }) => ({ cid, block: bytes, envelope: decodeEnvelope(bytes) })));
  });
  afterEach(async () => {
    mailbox.close();
    await content.close();
  });

  const run = () => pin({ mailbox, content, terminal });

  it("pins anew in another store: what was pinned was pinned in the one before", async () => {
    await content.put(blocks);
    await run();
    const other = new WatchedStore(join(folder(), "other"));
    expect((await pin({ mailbox, content: other, terminal })).data).to.include({ pinned: 2_500, alreadyPinned: 0 });
    expect(other.sent).to.have.length(2_500);
    expect((await pin({ mailbox, content: other, terminal })).data).to.include({ pinned: 0, alreadyPinned: 2_500 });
    await other.close();
  });

  it("sends nothing that the store has, and marks all of it", async () => {
    await content.put(blocks);
    content.sent.length = 0;
    expect((await run()).data).to.include({ pinned: 2_500, alreadyPinned: 0 });
    expect(content.sent).to.deep.equal([]);
    expect(await content.isPinned(cids)).to.not.include(false);
    expect(mailbox.counts().unpinned).to.equal(0);
    expect(progress.at(-1)).to.equal("pinned 2500 of 2500");
    expect((await run()).data).to.include({ pinned: 0, alreadyPinned: 2_500 });
  });

  it("puts again what the store has lost, and only that", async () => {
    await content.put(blocks);
    const lost = [cids[7]!, cids[2_400]!];
    const database = new Database(join(folder(), "blocks", "blocks.db"));
    for (const cid of lost) database.prepare("DELETE FROM blocks WHERE digest = ?").run(digestOfCid(cid));
    database.close();
    content.sent.length = 0;
    expect((await run()).data).to.include({ pinned: 2_500 });
    expect(content.sent).to.deep.equal(lost);
    expect(await content.isPinned(cids)).to.not.include(false);
  });

  it("puts all of it into a store that has nothing", async () => {
    expect((await run()).data).to.include({ pinned: 2_500 });
    expect(content.sent).to.deep.equal(cids);
    expect(await content.get(cids[2_499]!)).to.deep.equal(blocks[2_499]!.bytes);
  });

  it("does not put what the mailbox's disk gave back with other bytes, and marks nothing of it", async () => {
    const database = new Database(join(folder(), "mailbox.sqlite"));
    database.prepare("UPDATE messages SET envelope = ? WHERE cid = ?").run(blocks[1]!.bytes, cids[2_100]);
    database.close();
    expect(await codeOfAsync(run)).to.equal("DATABASE_DAMAGED");
    expect(mailbox.message(cids[1]!)?.pinned).to.equal(true);
    expect(mailbox.unpinned(0, 3).cids).to.deep.equal(cids.slice(2_000, 2_003));
  });
});
