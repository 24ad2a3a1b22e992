import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { expect } from "chai";

import { ArchiveExport } from "../../io/archive.ts";
import { toHex } from "../../protocol/bytes.ts";
import type { Cid } from "../../protocol/cid.ts";
import { encodeHeads, headsOf } from "../../protocol/heads.ts";
import type { RoomId } from "../../protocol/room.ts";
import { encodeShards } from "../../protocol/shard.ts";
import { runCommand } from "../fixtures/command.ts";
import { useFolder } from "../fixtures/folder.ts";
import { ALICE, BOB, deltaOf, History } from "../fixtures/history.ts";

/** Rooms of nobody, before and behind those of people. */
const LOWEST = `0x${"00".repeat(31)}01` as RoomId;
const LOW = `0x${"00".repeat(31)}02` as RoomId;
const HIGHEST = `0x${"ff".repeat(32)}` as RoomId;

/** Good anchors, made to break a reader that goes through them once. */
function craftHistory(): History {
  const history = new History();
  for (const person of [ALICE, BOB]) history.register(person);
  const room = history.room(ALICE, BOB);
  let seq = 1;
  const say = (): Cid => history.message(ALICE, BOB, { seq: seq++ });
  const first = say();
  history.anchor(deltaOf([room, [first]], [HIGHEST, [first]]));
  history.anchor(deltaOf([room, [first, say()]]));

  // A shard that lists the next shard as a message.
  const rooms = deltaOf([room, [say(), say()]]);
  const [next] = encodeShards(rooms).map((bytes) => history.put(bytes));
  const shards = deltaOf([LOWEST, [next!]], ...rooms);
  const ahead = encodeShards(deltaOf([LOWEST, [next!]])).map((bytes) => history.put(bytes));
  history.anchorManifest({ ...history.draft(shards).manifest, rooms: [...ahead, next!] });

  // A shard that lists one of two heads blocks as a message.
  const { tip } = history.replay();
  const [heads] = history.draft(deltaOf([LOWEST, [first]]), tip).manifest.heads;
  const listed = deltaOf([LOWEST, [first]], [LOW, [heads!]], [room, [say()]]);
  const { manifest, state } = history.draft(listed, tip);
  const [, ...rows] = headsOf(listed, tip!.state, state);
  const others = encodeHeads(rows).map((bytes) => history.put(bytes));
  history.anchorManifest({ ...manifest, heads: [heads!, ...others] });

  history.anchor(deltaOf([room, [say()]]));
  return history;
}

describe("An archive whose blocks name each other in roles that they do not have", function () {
  this.timeout(60_000);
  const folder = useFolder();

  it("is audited to its end, with the verdicts that a replay in memory gives", async () => {
    const history = craftHistory();
    const replay = history.replay();
    const entries = replay.rooms.flatMap((room) => replay.entries(room));
    const count = (status: string): number => entries.filter(({ verdict }) => verdict.status === status).length;
    const file = join(folder(), "crafted.car");
    const subject = {
      deployment: history.deployment,
      events: history.events,
      scope: { room: null, wallet: null, since: 0 },
    };
    const archive = new ArchiveExport(subject, { get: (cid) => Promise.resolve(history.get(cid) ?? null) });
    await writeFile(file, archive.bytes());
    const ending = await runCommand(
      {
        url: "http://127.0.0.1:9",
        deployment: history.deployment,
        dataDir: folder(),
        privateKey: toHex(ALICE.wallet.privateKey),
      },
      ["audit", "--car", file, "--offline", "--json"],
    );
    // Not each entry is a message, and the audit says so: that is 65.
    expect(ending.code, ending.stderr).to.equal(65);
    const { anchors, messages, state } = JSON.parse(ending.stdout) as Record<string, unknown>;
    expect(anchors).to.deep.include({ verified: 5, rejected: 0, missing: 0 });
    expect(messages).to.deep.equal({ verified: 6, rejected: count("rejected"), missing: 0 });
    expect(messages).to.include({ verified: count("verified") });
    expect(state).to.equal(toHex(replay.state.root));
  });
});
