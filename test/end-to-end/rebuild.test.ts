import { cp, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect } from "chai";

import { EmbeddedStore } from "../../io/content/embedded.ts";
import { rebuild } from "../../io/history.ts";
import { toHex } from "../../protocol/bytes.ts";
import { cidOf, digestOfCid } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import type { Replay } from "../../protocol/replay/replay.ts";
import { roomIdOf } from "../../protocol/room.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import { readConversation } from "../../tasks/conversation.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { walletOf } from "../../io/chain/transactions/writer.ts";
import { sendAnchor } from "../fixtures/anchor.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";

describe("a room over four anchors, one of them invalid", () => {
  let chain: TestDeployment;
  let session: Session;
  const said: string[] = [];

  const write = async (from: "alice" | "bob", text: string): Promise<void> => {
    const to = from === "alice" ? chain.bob : chain.alice;
    await send(session, chain[from], [{ to, content: contentOfText(text) }]);
    said.push(text);
  };

  before(async () => {
    chain = await openDeployment();
    session = chain.open();
    await register(session, chain.alice);
    await register(session, chain.bob);
    await write("alice", "one");
    await write("bob", "two\n\nafter an empty line");
    await anchor(session);
    await write("alice", "drei, τέσσερα, пять, 六, سبعة 🎉");
    await anchor(session);

    // A block that is no manifest, anchored by the operator; the head that it is anchored on is the real one.
    const junk = Uint8Array.of(0xa1, 0x61, 0x61, 0x01);
    await session.content.put([{ cid: cidOf(junk), bytes: junk }]);
    const { signer } = await session.signer();
    const { head } = await session.reader.entryHead();
    await sendAnchor(signer, session.deployment, head, digestOfCid(cidOf(junk)));

    await write("bob", "x".repeat(100_000));
    await anchor(session);
  });

  after(async () => {
    await session.close();
    await chain.close();
  });

  it("is built on the anchor before the invalid one", async () => {
    const replayed = await rebuildFrom(session, session.content);
    expect(replayed.anchors.map(({ verdict }) => verdict.status)).to.deep.equal([
      "verified",
      "verified",
      "rejected",
      "verified",
    ]);
    expect(replayed.anchors[2]?.verdict).to.include({ code: "MANIFEST_MALFORMED" });
    expect(replayed.anchors[3]?.manifest?.base?.index).to.equal(1);
  });

  it("rebuilds equal from an empty folder with only chain and blocks", async () => {
    const folder = await mkdtemp(join(tmpdir(), "dmtp-stranger-"));
    try {
      await cp(join(session.folder, "blocks"), join(folder, "blocks"), { recursive: true });
      const stranger = new EmbeddedStore(join(folder, "blocks"));
      const theirs = await rebuildFrom(session, stranger);
      const ours = await rebuildFrom(session, session.content);
      expect(exportOf(theirs)).to.deep.equal(exportOf(ours));
      expect(theirs.entries(roomOf(session, chain)).every(({ verdict }) => verdict.status === "verified")).to.equal(
        true,
      );
      expect((await readdir(folder)).sort()).to.deep.equal(["blocks"]);
      await stranger.close();
    } finally {
      await rm(folder, { recursive: true });
    }
  });

  it("reads the same to both of them, in the order in which it was anchored", async () => {
    for (const wallet of [chain.alice, chain.bob]) {
      const { signer } = await session.signer(wallet);
      const { lines } = await readConversation(session, roomOf(session, chain), wallet, {
        wallet: await walletOf(signer),
      });
      expect(lines.map(({ text }) => text)).to.deep.equal(said);
      expect(lines.map(({ anchor: at }) => at?.index)).to.deep.equal([0, 0, 1, 3]);
    }
  });

  it("passes the audit, which names the rejected anchor", async () => {
    const { data, error } = await audit(session);
    expect(error).to.equal(undefined);
    expect(data).to.deep.include({
      anchors: { verified: 3, rejected: 1, missing: 0 },
      messages: { verified: 4, rejected: 0, missing: 0 },
    });
  });

  it("goes on after the mailbox was lost, without using a sequence number twice", async () => {
    await session.close();
    for (const name of await readdir(session.folder)) if (name !== "blocks") await rm(join(session.folder, name));
    session = chain.open();
    await write("alice", "and on");
    await anchor(session);
    const replayed = await rebuildFrom(session, session.content);
    const seqs = replayed.entries(roomOf(session, chain)).map(({ message }) => [message?.sender, message?.seq]);
    expect(seqs).to.deep.equal([
      [chain.alice, 1],
      [chain.bob, 1],
      [chain.alice, 2],
      [chain.bob, 2],
      [chain.alice, 3],
    ]);
  });
});

async function rebuildFrom(session: Session, content: Session["content"]): Promise<Replay> {
  const { events } = await session.reader.allEvents();
  return rebuild(session.deployment, events, content);
}

function roomOf(session: Session, { alice, bob }: TestDeployment): ReturnType<typeof roomIdOf> {
  return roomIdOf(session.deployment, alice, bob);
}

function exportOf(replayed: Replay): unknown {
  return {
    state: toHex(replayed.state.root),
    anchors: replayed.anchors.map(({ event, verdict }) => ({ event, verdict })),
    rooms: replayed.rooms.map((room) => ({ room, entries: replayed.entries(room) })),
  };
}
