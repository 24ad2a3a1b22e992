import { readFileSync } from "node:fs";

import { expect } from "chai";

import { rootsOfCar } from "../../io/content/car.ts";
import { fromHex } from "../../protocol/bytes.ts";
import { replay } from "../../protocol/replay/replay.ts";
import { describeReplay, readPiece, writeSetPieces, type SetPieceFile } from "../fixtures/set-piece-file.ts";

const TEXT = readFileSync(new URL("../vectors/set-pieces.json", import.meta.url), "utf8");
const FILE = JSON.parse(TEXT) as SetPieceFile;
const SPEC = readFileSync(new URL("../../protocol/SPEC.md", import.meta.url), "utf8");

describe("The set pieces for other implementations", () => {
  it("are what the code makes of them: npm run set-pieces writes them anew", async () => {
    expect(
      `${JSON.stringify(await writeSetPieces(), null, 1)}\n` === TEXT,
      "test/vectors/set-pieces.json is old",
    ).to.equal(true);
  }).timeout(60_000);

  it("have all that a replay takes, and what it gives", () => {
    for (const piece of FILE.histories) {
      const { events, blocks } = readPiece(piece);
      for (const { withheld, result } of piece.replays) {
        const found = replay(FILE.deployment, events, (cid) => (withheld.includes(cid) ? undefined : blocks.get(cid)));
        expect(JSON.parse(JSON.stringify(describeReplay(found, events))), piece.name).to.deep.equal(result);
      }
    }
  }).timeout(60_000);

  it("show every verdict code of SPEC 9", () => {
    const tables = SPEC.slice(SPEC.indexOf("### 9.1 Keys"), SPEC.indexOf("### 9.4 Not verdicts"));
    const codes = [...tables.matchAll(/^\| `([A-Z_]+)` \|/gm)].map(([, code = ""]) => code);
    expect(codes.length).to.be.greaterThan(25);
    for (const code of [...codes, "verified", "missing"]) expect(TEXT.includes(`"${code}"`), code).to.equal(true);
  });

  it("hold the edges of ZIP 215 as SPEC 5.4 decides them", () => {
    const piece = FILE.histories.find(({ name }) => name === "ZIP 215");
    const { rooms } = piece?.replays[0]?.result as { rooms: { entries: { verdict: string }[] }[] };
    expect(rooms[0]?.entries.map(({ verdict }) => verdict)).to.deep.equal([
      ...["verified", "verified", "verified", "verified", "verified"],
      ...["SIGNATURE_INVALID", "SIGNATURE_INVALID"],
    ]);
  });

  it("have an archive that names the manifests of its history", async () => {
    const piece = FILE.histories.find(({ name }) => name === FILE.archive.history);
    const chunks = async function* (): AsyncGenerator<Uint8Array> {
      yield await Promise.resolve(fromHex(FILE.archive.car));
    };
    const anchored = piece?.events.filter(({ kind }) => kind === "anchor").map(({ cid }) => cid);
    expect(await rootsOfCar(chunks())).to.deep.equal(anchored);
  });
});
