import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { expect } from "chai";

import { encodeCar } from "../../io/content/car.ts";
import { linksOf } from "../../io/content/links.ts";
import type { Cid } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import { DmtpError } from "../../protocol/error.ts";
import type { Block } from "../../protocol/manifest.ts";
import { CarFileSource } from "../../io/content/car-source.ts";
import { Sources } from "../../io/content/sources.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";

describe("An audit from a CAR file alone", () => {
  let chain: TestDeployment;
  let session: Session;
  let blocks: Block[];
  let manifests: Cid[];
  let path: string;

  before(async () => {
    chain = await openDeployment();
    session = chain.open();
    path = join(chain.dataDir, "history.car");
    await register(session, chain.alice);
    await register(session, chain.bob);
    for (const text of ["one", "two"]) {
      await send(session, chain.alice, [{ to: chain.bob, content: contentOfText(text) }]);
      await anchor(session);
    }
    const { events } = await session.reader.allEvents();
    manifests = events.flatMap((event) => (event.kind === "anchor" && event.cid !== null ? [event.cid] : []));
    blocks = [];
    for (let level = manifests; level.length > 0;) {
      const part: Block[] = [];
      for (const cid of level) part.push({ cid, bytes: (await session.content.get(cid))! });
      blocks.push(...part);
      level = part.flatMap(({ bytes }) => linksOf(bytes));
    }
    await session.close();
    // Nothing is left but the chain and what the file has.
    await rm(session.folder, { recursive: true });
    session = chain.open();
  });
  after(async () => {
    await session.close();
    await chain.close();
  });

  const auditCar = async (part: readonly Block[]): ReturnType<typeof audit> => {
    await writeFile(path, Buffer.concat([...encodeCar(manifests, part)]));
    const sources = new Sources([new CarFileSource(path)]);
    try {
      return await audit(session, undefined, { name: "the file", get: (cid) => sources.get(cid) });
    } finally {
      await sources.close();
    }
  };

  it("passes, and needs no other source", async () => {
    const { data, error } = await auditCar(blocks);
    expect(error).to.equal(undefined);
    expect(data).to.deep.include({ messages: { verified: 2, rejected: 0, missing: 0 } });
  });

  it("says what a file lacks, and believes no block by its name", async () => {
    const last = blocks.at(-1)!;
    expect((await auditCar(blocks.slice(0, -1))).error?.code).to.equal("HISTORY_INCOMPLETE");
    const forged = [...blocks.slice(0, -1), { cid: last.cid, bytes: last.bytes.with(9, (last.bytes[9] ?? 0) ^ 1) }];
    const { data, error } = await auditCar(forged);
    expect(error?.code).to.equal("HISTORY_INCOMPLETE");
    expect(data).to.deep.include({ messages: { verified: 1, rejected: 0, missing: 1 } });
  });

  it("ends by code with a file that is none", async () => {
    await writeFile(path, "no CAR");
    const sources = new Sources([new CarFileSource(path)]);
    const error = await audit(session, undefined, { name: "the file", get: (cid) => sources.get(cid) }).then(
      () => null,
      (reason: unknown) => reason,
    );
    expect(error).to.be.instanceOf(DmtpError);
    expect((error as DmtpError).code).to.equal("CAR_MALFORMED");
  });
});
