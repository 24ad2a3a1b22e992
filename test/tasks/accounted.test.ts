/** What commands say of messages whose anchor gives a false account: they are verified, and nothing counts them (SPEC 8.4). */
import { expect } from "chai";

import { ArchiveFile } from "../../io/archive-file.ts";
import { rebuild } from "../../io/history.ts";
import { cidOf } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import { draftManifest } from "../../protocol/manifest.ts";
import { roomIdOf, type RoomId } from "../../protocol/room.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit, auditArchive } from "../../tasks/audit.ts";
import type { Outcome } from "../../tasks/command.ts";
import { exportHistory } from "../../tasks/export.ts";
import { history } from "../../tasks/history.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { storeText } from "../fixtures/anchor.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { encodeFalseManifest } from "../fixtures/false-manifest.ts";
import { useFolder } from "../fixtures/folder.ts";

interface Report {
  readonly unaccounted: number;
  readonly messages: readonly { readonly accounted: boolean | null }[];
  readonly rooms: readonly { readonly entries: readonly { readonly accounted: boolean }[] }[];
}

describe("A message that its anchor does not account for", function () {
  this.timeout(60_000);
  const folder = useFolder();
  let chain: TestDeployment;
  let session: Session;
  let room: RoomId;

  /** Two messages: one anchored as it should be, one by an anchorer who counts one too many. A third waits. */
  before(async () => {
    chain = await openDeployment();
    session = chain.open();
    const { content, deployment, mailbox, reader } = session;
    room = roomIdOf(deployment, chain.alice, chain.bob);
    const write = (text: string): Promise<unknown> =>
      send(session, chain.alice, [{ to: chain.bob, content: contentOfText(text) }]);
    for (const wallet of [chain.alice, chain.bob]) await register(session, wallet);
    await write("counted");
    await anchor(session);
    await write("not counted");
    const { tip } = await rebuild(deployment, (await reader.allEvents()).events, content);
    const draft = draftManifest(tip, new Map([[room, mailbox.unanchored().map(({ cid }) => cid)]]));
    const bytes = encodeFalseManifest({ ...draft.manifest, count: draft.manifest.count + 1 });
    const cid = cidOf(bytes);
    await content.put([...draft.blocks, { cid, bytes }]);
    await storeText((await session.signer(chain.operator)).signer, deployment, cid);
    await write("waiting");
  });
  after(async () => {
    await session.close();
    await chain.close();
  });

  const readReport = ({ data, error }: Outcome): Report => {
    expect(error).to.equal(undefined);
    return data as Report;
  };

  it("is shown as such by history", async () => {
    const outcome = await history(session, chain.bob, chain.alice);
    expect(readReport(outcome).messages.map(({ accounted }) => accounted)).to.deep.equal([true, false, null]);
    const headlines = outcome.text.split("\n").filter((line) => line.includes("["));
    expect(headlines.map((line) => line.includes(", not accounted"))).to.deep.equal([false, true, false]);
  });

  it("is shown as such by audit, of a chain and of an archive by itself, and counted", async () => {
    const path = `${folder()}/all.car`;
    await exportHistory(session, path, { room: null, wallet: null, since: 0 });
    const file = await ArchiveFile.open(path);
    for (const asked of [undefined, room]) {
      for (const outcome of [
        await audit(session, asked),
        await auditArchive(file, session.terminal, { room: asked }),
      ]) {
        const { unaccounted, rooms } = readReport(outcome);
        expect(unaccounted).to.equal(1);
        expect(outcome.text).to.contain("of the verified, 1 not accounted: their anchor is not");
        if (asked === undefined) continue;
        expect(rooms[0]?.entries.map(({ accounted }) => accounted)).to.deep.equal([true, false]);
        const lines = outcome.text.split("\n").filter((line) => line.startsWith("  message "));
        expect(lines.map((line) => line.includes(", not accounted"))).to.deep.equal([false, true]);
      }
    }
    await file.close();
  });
});
