/** What whoever may anchor can do to the processes of readers: each has little memory, and must end or serve all the same. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { isDeepStrictEqual } from "node:util";

import { expect } from "chai";
import { toBeHex } from "ethers";

import { cidOf, type Cid } from "../../protocol/cid.ts";
import { toHex, utf8 } from "../../protocol/bytes.ts";
import { contentOfText } from "../../protocol/content.ts";
import { primitives } from "../../protocol/crypto/provider.ts";
import { draftManifest } from "../../protocol/manifest.ts";
import { roomIdOf, type RoomId } from "../../protocol/room.ts";
import { deployLocally, type LocalDeployment } from "../../scripts/local-deployment.ts";
import { startLocalChain, type Service } from "../../scripts/service.ts";
import { findTool } from "../../scripts/tool.ts";
import { anchor } from "../../tasks/anchor.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { storeText } from "../fixtures/anchor.ts";
import { runLocalCommandProcess } from "../fixtures/command.ts";
import { getOk, waitFor } from "../fixtures/indexer-client.ts";
import { startIndexerProcess } from "../fixtures/indexer-process.ts";
import { chooseSize } from "../fixtures/long-form.ts";

/** MiB of heap. Hardhat takes 120 of them itself; a node of a tree for each bit that two ids share would take 750 or 1,500. */
const HEAP_MIB = 320;
const LITTLE_MEMORY = { NODE_OPTIONS: `--max-old-space-size=${HEAP_MIB}` };
const PLACES = chooseSize(8_192, 16_384);

describe("An anchorer against the processes of readers", function () {
  this.timeout(240_000);
  let dataDir: string;
  let chain: { readonly url: string; readonly service: Service };
  let deployment: LocalDeployment;
  let session: Session;
  let room: RoomId;
  let message: Cid;

  before(async () => {
    dataDir = await mkdtemp(join(tmpdir(), "dmtp-hostile-"));
    chain = await startLocalChain(findTool("hardhat"));
    deployment = await deployLocally(chain.url, dataDir, () => undefined);
    session = deployment.open();
    const [, alice, bob] = deployment.accounts;
    await register(session, alice);
    await register(session, bob);
    await send(session, alice, [{ to: bob!, content: contentOfText("one") }]);
    await anchor(session);
    room = roomIdOf(session.deployment, alice!, bob!);
    message = session.mailbox.messages(room)[0]!.cid;
  });

  after(async () => {
    await session.close();
    await chain.service.stop();
    await rm(dataDir, { recursive: true, force: true });
  });

  /** Anchors a manifest on nothing, as its owner may, and nothing else that a careful operator does. */
  async function anchorDelta(delta: ReadonlyMap<RoomId, readonly Cid[]>): Promise<void> {
    const draft = draftManifest(null, delta);
    await session.content.put(draft.blocks);
    const { signer } = await session.signer(deployment.accounts[0]);
    await storeText(signer, session.deployment, draft.cid);
  }

  it("costs them a leaf and a branch for each room, however many bits its id shares with another's", async () => {
    const delta = new Map<RoomId, Cid[]>();
    for (let i = 0; i < PLACES; i += 2) {
      const id = BigInt(toHex(primitives.sha256(utf8(`pair ${i}`)))) & ~1n;
      for (const last of [0n, 1n]) {
        delta.set(toBeHex(id | last, 32) as RoomId, [cidOf(utf8(`nothing ${id | last}`))]);
      }
    }
    await anchorDelta(delta);
    await expectReaders({ verified: 1, rejected: 0, missing: PLACES });
  });

  it("costs them a place for each time that a message is listed, in whatever rooms", async () => {
    const foreign = toHex(primitives.sha256(utf8("foreign"))) as RoomId;
    const half = Array.from({ length: PLACES / 2 }, () => message);
    await anchorDelta(
      new Map([
        [room, half],
        [foreign, half],
      ]),
    );
    await expectReaders({ verified: 1, rejected: PLACES, missing: PLACES });
  });

  /** What `audit` and an indexer make of it. */
  async function expectReaders(messages: { verified: number; rejected: number; missing: number }): Promise<void> {
    const place = { url: chain.url, deployment: session.deployment, dataDir };
    const { code, stdout, stderr } = await runLocalCommandProcess(place, ["audit", "--json"], LITTLE_MEMORY);
    expect(code, stderr).to.be.oneOf([65, 75]);
    expect(JSON.parse(stdout)).to.deep.include({ messages });

    const reader = await startIndexerProcess(chain.url, session.deployment, dataDir, LITTLE_MEMORY);
    try {
      await waitFor(
        "all verdicts",
        async () => {
          const { counts } = (await getOk(reader.url, "/status")) as { counts: { messages: object } };
          return isDeepStrictEqual(counts.messages, messages);
        },
        60_000,
      );
    } finally {
      await reader.stop();
    }
  }
});
