import { spawn } from "node:child_process";
import { fileURLToPath } from "node:url";

import { expect } from "chai";

import { DEFAULT_OPTIONS } from "../../../tasks/anchor-options.ts";
import { anchorRound } from "../../../tasks/anchor-round.ts";
import { Operator } from "../../fixtures/operator.ts";

const SCRIPT = fileURLToPath(new URL("../../fixtures/crashing-anchor.ts", import.meta.url));

/** Everything that a run with two waiting messages writes, each of which is a point to crash before and after. */
const WRITES = ["plan", "pin", "markPinned", "put", "pin", "write", "record", "broadcast", "mine"];

describe("kill -9 during an anchor", () => {
  let operator: Operator;

  before(async () => {
    operator = await Operator.start();
  });
  after(() => operator.stop());
  beforeEach(async () => {
    // What earlier tests anchored is final and settled, so that this run has nothing to do but its own.
    await operator.mine(70);
    const session = await operator.open();
    await anchorRound(session, DEFAULT_OPTIONS);
    expect(session.mailbox.anchors.open()).to.deep.equal([]);
    await session.close();
  });

  /** Runs the process to the point where it kills itself. @returns the points that it reached */
  function crashAt(point: number): Promise<{ readonly points: string[]; readonly signal: string | null }> {
    const { cidStore, keyRegistry } = operator.deployed.deployment;
    const folders = [operator.folderOf("first"), operator.folderOf("blocks")];
    const args = [operator.chain.url, cidStore, keyRegistry, operator.deployed.anchorer.privateKey, ...folders];
    const child = spawn(process.execPath, [SCRIPT, ...args, String(point)], { stdio: ["ignore", "pipe", "inherit"] });
    let printed = "";
    child.stdout.on("data", (chunk: Buffer) => (printed += chunk.toString()));
    return new Promise((resolve, reject) => {
      child.once("error", reject);
      child.once("close", (_code, signal) => {
        resolve({ points: printed.trim().split("\n"), signal });
      });
    });
  }

  const POINTS = WRITES.flatMap((write) => [`before ${write}`, `after ${write}`]);

  POINTS.forEach((name, point) => {
    it(`${name} (write ${Math.floor(point / 2) + 1} of ${WRITES.length}): the next run ends with everything anchored once`, async () => {
      const before = await operator.anchoredCids();
      const nonce = await operator.anchorerNonce();
      const waiting = await operator.open();
      const sent = await operator.send(waiting, 2);
      await waiting.close();

      const { points, signal } = await crashAt(point);
      expect(signal).to.equal("SIGKILL");
      expect(points).to.deep.equal(POINTS.slice(0, point + 1));

      const session = await operator.open();
      // Whoever sends meanwhile is not in the way, and what is sent now is anchored, too.
      sent.push(...(await operator.send(session, 1)));
      await anchorRound(session, DEFAULT_OPTIONS);
      expect(session.mailbox.counts().unanchored).to.equal(0);
      await session.close();
      expect(await operator.anchoredCids()).to.deep.equal([...before, ...sent]);
      const manifests = (await operator.replay()).anchors.map(({ event }) => event.cid);
      expect(new Set(manifests).size).to.equal(manifests.length);
      // One for the two that waited, and one for what came after the plan, if there was one.
      expect((await operator.anchorerNonce()) - nonce).to.equal(point === 0 ? 1 : 2);
    });
  });

  for (const [point, name] of ["before finalize", "after finalize"].entries()) {
    it(`${name}, when an earlier anchor's block has become final: the next run goes on`, async () => {
      const session = await operator.open();
      await operator.send(session, 1);
      await anchorRound(session, DEFAULT_OPTIONS);
      await operator.mine(70);
      const sent = await operator.send(session, 1);
      await session.close();
      expect(await crashAt(point)).to.deep.equal({
        points: ["before finalize", "after finalize"].slice(0, point + 1),
        signal: "SIGKILL",
      });
      const next = await operator.open();
      expect((await anchorRound(next, DEFAULT_OPTIONS)).anchored.map(({ messages }) => messages)).to.deep.equal([1]);
      await next.close();
      expect((await operator.anchoredCids()).at(-1)).to.equal(sent[0]);
    });
  }

  it("has no other durable writes than these", async () => {
    const session = await operator.open();
    await operator.send(session, 2);
    await session.close();
    // At its end it looks whether more waits, and nothing does.
    const points = [...POINTS, "before plan", "after plan"];
    expect(await crashAt(Infinity)).to.deep.equal({ points, signal: null });
  });
});
