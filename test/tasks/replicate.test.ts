import { join } from "node:path";

import Database from "better-sqlite3";
import { expect } from "chai";

import { walletOf } from "../../io/chain/transactions/writer.ts";
import { EmbeddedStore } from "../../io/content/embedded.ts";
import { KuboStore } from "../../io/content/kubo.ts";
import { ReplicatedStore } from "../../io/content/replicated.ts";
import { parseAddress } from "../../protocol/address.ts";
import { bindingRequest } from "../../protocol/binding.ts";
import { fromHex } from "../../protocol/bytes.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { cidOf, cidOfDigest, digestOfCid, linkTo, type Cid } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import { roomIdOf } from "../../protocol/room.ts";
import { anchor } from "../../tasks/anchor.ts";
import { exportHistory } from "../../tasks/export.ts";
import { importHistory } from "../../tasks/import.ts";
import { register } from "../../tasks/keys-register.ts";
import { checkPins, copyTo, repairPins } from "../../tasks/replicate.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { FakeKubo } from "../fixtures/fake-kubo.ts";
import { draftKey, relay } from "../fixtures/registration.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

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

  it("is found damaged by one bit, and is repaired from the mailbox", async () => {
    const [manifest] = (await manifests()) as [Cid];
    const [first] = session.mailbox.messages(roomIdOf(session.deployment, chain.alice, chain.bob));
    damage(
      "UPDATE blocks SET bytes = CAST(substr(bytes, 1, length(bytes) - 1) || x'00' AS BLOB) WHERE digest = ?",
      first!.cid,
    );
    const { data, error } = await checkPins(session);
    expect(error?.code).to.equal("CONTENT_MISSING");
    expect((data as { findings: object[] }).findings).to.deep.equal([
      { store: session.content.name, root: manifest, what: "anchor 0", pinned: true, missing: [first!.cid] },
    ]);
    expect((await repairPins(session)).data).to.deep.include({ put: 4, pinned: 1, lost: [] });
    expect((await checkPins(session)).error).to.equal(undefined);
    expect(await session.content.get(first!.cid)).to.deep.equal(first!.envelope);
  });

  describe("with keys that strangers registered", () => {
    /** Leads to a block that is there, and to one that is not. */
    const trap = encode([linkTo(cidOf(fixedBytes("precious"))), linkTo(cidOf(fixedBytes("nothing")))]);
    const nothing = cidOf(fixedBytes("no document"));

    /** Carol's machine is another one: what her wallet registers is nobody's here. Without a CID it is her key's own document. */
    const registerOf = async (document?: Cid): Promise<Cid> => {
      const elsewhere = chain.open({ content: new EmbeddedStore(join(chain.dataDir, "elsewhere")) });
      const { binding } = await draftKey(elsewhere, chain.carol, "a passphrase that is long");
      const changed = { ...binding, document: document === undefined ? binding.document : digestOfCid(document) };
      const request = bindingRequest(session.deployment, changed);
      const signers = await chain.connection.ethers.getSigners();
      const wallet = await walletOf(signers.find(({ address }) => parseAddress(address) === chain.carol)!);
      const signature = fromHex(await wallet.signTypedData(request));
      await relay(signers[0]!, session.deployment, { binding: changed, request }, signature);
      await elsewhere.content.close();
      await elsewhere.close();
      return cidOfDigest(changed.document);
    };
    /** A session that reads from that machine as well, which has what the trap leads to. */
    const openWide = async (): Promise<Session> => {
      const source = new EmbeddedStore(join(chain.dataDir, "elsewhere"));
      const bait = fixedBytes("precious");
      await source.put([{ cid: cidOf(bait), bytes: bait }]);
      await source.put([{ cid: cidOf(trap), bytes: trap }]);
      return chain.open({
        content: new ReplicatedStore([new EmbeddedStore(join(session.folder, "blocks"))], [source]),
      });
    };

    it("passes the check, and says apart what of theirs nobody has", async () => {
      await registerOf(nothing);
      const { data, text, error } = await checkPins(session);
      expect(error).to.equal(undefined);
      expect(data).to.deep.include({ roots: 4, findings: [] });
      const others = { missing: 1, malformed: 0, notPinned: 0, documents: [{ root: nothing, state: "missing" }] };
      expect(data).to.have.property("others").that.deep.equals(others);
      expect(text).to.include("1 key document of others: 1 missing");
      expect((await repairPins(session)).error).to.equal(undefined);
    });

    it("neither keeps nor follows what is no document, wherever it is copied", async () => {
      await registerOf(cidOf(trap));
      const wide = await openWide();
      const kubo = new FakeKubo();
      const url = await kubo.start();
      try {
        const repaired = await repairPins(wide);
        expect(repaired.error).to.equal(undefined);
        expect(repaired.data).to.deep.include({ put: 0 });
        expect(repaired.data).to.have.property("others").that.include({ missing: 0, malformed: 1 });
        for (const bytes of [trap, fixedBytes("precious")])
          expect(await session.content.get(cidOf(bytes))).to.equal(null);

        const copied = await copyTo(wide, url.href);
        expect(copied.error).to.equal(undefined);
        expect(copied.data).to.deep.include({ blocks: 7, missing: [] });
        expect(kubo.blocks.has(cidOf(trap))).to.equal(false);

        const file = join(chain.dataDir, "all.car");
        const exported = await exportHistory(wide, file, { room: null, wallet: null, since: 0 });
        expect(exported.error).to.equal(undefined);
        expect(exported.data).to.deep.include({ documents: 2, missingDocuments: 1, ownMissingDocuments: [] });
        const importing = chain.open({ content: new KuboStore(url) });
        expect((await importHistory(importing, file)).error).to.equal(undefined);
        expect(kubo.blocks.has(cidOf(trap))).to.equal(false);
        await importing.content.close();
        await importing.close();
      } finally {
        await kubo.stop();
        await wide.content.close();
        await wide.close();
      }
    });

    it("keeps a document of theirs that is one, and pins it", async () => {
      const document = await registerOf();
      const wide = await openWide();
      try {
        expect((await repairPins(wide)).data).to.deep.include({ put: 1, pinned: 1, lost: [] });
        expect(await session.content.isPinned([document])).to.deep.equal([true]);
        expect((await checkPins(session)).data)
          .to.have.property("others")
          .that.include({ missing: 0, notPinned: 0 });
      } finally {
        await wide.content.close();
        await wide.close();
      }
    });

    it("ends with an error when one's own is missing", async () => {
      const { events } = await session.reader.allEvents();
      const [own] = events.flatMap((event) => (event.kind === "key" ? [cidOfDigest(event.document)] : []));
      damage("DELETE FROM blocks WHERE digest = ?", own!);
      const { data, error } = await checkPins(session);
      expect(error?.code).to.equal("CONTENT_MISSING");
      expect((data as { findings: { root: Cid }[] }).findings.map(({ root }) => root)).to.deep.equal([own]);
      expect((await repairPins(session)).error?.code).to.equal("CONTENT_MISSING");
    });
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
      let left = 5;
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
