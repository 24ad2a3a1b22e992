import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import { KuboStore } from "../../io/content/kubo.ts";
import { cidOfDigest, digestOfCid, type Cid } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import { roomIdOf } from "../../protocol/room.ts";
import { anchor } from "../../tasks/anchor.ts";
import { register } from "../../tasks/keys-register.ts";
import { checkPins, copyTo, repairPins } from "../../tasks/replicate.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { FakeKubo } from "../fixtures/fake-kubo.ts";

/** Two key documents, and an anchor of two messages: manifest, shard, heads. */
describe("What is anchored, in every place where it should be", () => {
  let chain: TestDeployment;
  let session: Session;

  const write = (text: string) => send(session, chain.alice, [{ to: chain.bob, content: contentOfText(text) }]);
  const manifests = async (): Promise<Cid[]> => {
    const { events } = await session.reader.allEvents();
    return events.flatMap((event) => (event.kind === "anchor" && event.cid !== null ? [event.cid] : []));
  };
  /** What only a damaged disk, or an operator's mistake, would do. */
  const damage = (sql: string, cid: Cid): void => {
    const database = new Database(join(session.folder, "blocks", "blocks.db"));
    database.prepare(sql).run(digestOfCid(cid));
    database.close();
  };

  beforeEach(async () => {
    chain = await openDeployment();
    session = chain.open();
    await register(session, chain.alice);
    await register(session, chain.bob);
    await write("one");
    await write("two");
    await anchor(session);
  });
  afterEach(async () => {
    await session.close();
    await chain.close();
  });

  it("passes the check when it is all there", async () => {
    const { data, error } = await checkPins(session);
    expect(data).to.deep.include({ roots: 3, findings: [] });
    expect(error).to.equal(undefined);
  });

  it("is found missing block by block, and not pinned, and is repaired from the mailbox", async () => {
    const [manifest] = (await manifests()) as [Cid];
    const [first] = session.mailbox.messages(roomIdOf(session.deployment, chain.alice, chain.bob));
    damage("DELETE FROM blocks WHERE digest = ?", first!.cid);
    damage("DELETE FROM pins WHERE id = (SELECT id FROM blocks WHERE digest = ?)", manifest);
    const { data, error } = await checkPins(session);
    expect(error?.code).to.equal("CONTENT_MISSING");
    expect((data as { findings: object[] }).findings).to.deep.equal([
      { store: session.content.name, root: manifest, what: "anchor 0", pinned: false, missing: [first!.cid] },
    ]);
    const repaired = await repairPins(session);
    expect(repaired.error).to.equal(undefined);
    expect(repaired.data).to.deep.include({ pinned: 1, lost: [] });
    expect((await checkPins(session)).error).to.equal(undefined);
  });

  it("is said to be lost when nobody has it", async () => {
    const [manifest] = (await manifests()) as [Cid];
    damage("DELETE FROM blocks WHERE digest = ?", manifest);
    const { data, error } = await repairPins(session);
    expect(error?.code).to.equal("CONTENT_MISSING");
    expect((data as { lost: { missing: Cid[] }[] }).lost.map(({ missing }) => missing)).to.deep.equal([[manifest]]);
  });

  describe("another Kubo", () => {
    let kubo: FakeKubo;
    let url: URL;
    beforeEach(async () => {
      kubo = new FakeKubo();
      url = await kubo.start();
    });
    afterEach(() => kubo.stop());

    it("gets every block, pinned, and the next run asks for what is new only", async () => {
      const first = await copyTo(session, url.href);
      expect(first.error).to.equal(undefined);
      expect(first.data).to.deep.include({ roots: 3, alreadyThere: 0, blocks: 7, missing: [] });
      const [manifest] = (await manifests()) as [Cid];
      expect(kubo.pins.has(manifest)).to.equal(true);
      const target = new KuboStore(url);
      expect(await target.missing([manifest], 10)).to.deep.equal([]);
      const { events } = await session.reader.allEvents();
      for (const event of events) {
        if (event.kind === "key") expect(kubo.pins.has(cidOfDigest(event.document))).to.equal(true);
      }
      await target.close();

      kubo.requests.length = 0;
      expect((await copyTo(session, url.href)).data).to.deep.include({ roots: 0, alreadyThere: 3, blocks: 0 });
      expect(kubo.requests).to.deep.equal([]);

      await write("three");
      await anchor(session);
      expect((await copyTo(session, url.href)).data).to.deep.include({ roots: 1, alreadyThere: 3, blocks: 4 });
    });

    it("is taken up where it was left when it fails in the middle", async () => {
      let left = 2;
      kubo.intercept = ({ path }, response) => {
        if (path === "/api/v0/dag/import" && left-- <= 0) {
          response.destroy();
          return true;
        }
        return false;
      };
      const code = await copyTo(session, url.href).then(
        () => null,
        (error: unknown) => (error as { code: string }).code,
      );
      expect(code).to.equal("CONTENT_WRITE_FAILED");
      kubo.intercept = () => false;
      const { data } = await copyTo(session, url.href);
      expect((data as { alreadyThere: number }).alreadyThere).to.be.greaterThan(0);
      expect(await new KuboStore(url).missing(await manifests(), 10)).to.deep.equal([]);
    });
  });
});
