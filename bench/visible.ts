/** How long what a node has mined takes to be served, when the node tells of its blocks and when it has to be asked. */
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { IndexerClient } from "../client/indexer.ts";
import { cidStoreInterface } from "../io/chain/contracts.ts";
import type { Cid } from "../protocol/cid.ts";
import { contentOfText } from "../protocol/content.ts";
import { draftManifest, type Tip } from "../protocol/manifest.ts";
import { roomIdOf } from "../protocol/room.ts";
import { State } from "../protocol/state.ts";
import { deployLocally } from "../scripts/local-deployment.ts";
import { startIndexer, startLocalChain } from "../scripts/service.ts";
import { findTool } from "../scripts/tool.ts";
import { register } from "../tasks/keys-register.ts";
import { send } from "../tasks/send.ts";
import type { Session } from "../tasks/session.ts";
import { median } from "./measure.ts";
import type { Report } from "./report.ts";

const POLL_MS = 500;
const ANCHORS = 60;
/** The wait is anything up to the interval: of fewer, the median alone is some milliseconds off. */
const POLLED_ANCHORS = 240;

export async function benchVisible(report: Report): Promise<void> {
  const pushedMs = await measure("ws", 2_000, ANCHORS);
  report.duration({ name: "mined until visible over HTTP, by websocket", ms: pushedMs, goalMs: 10 });
  const polledMs = await measure("http", POLL_MS, POLLED_ANCHORS);
  report.duration({ name: `the same, polling every ${POLL_MS} ms`, ms: polledMs, goalMs: 260 });
}

async function measure(protocol: "ws" | "http", pollIntervalMs: number, anchors: number): Promise<number> {
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  const chain = await startLocalChain(findTool("hardhat"));
  try {
    const note = (text: string): void => void process.stderr.write(`${text}\n`);
    const deployed = await deployLocally(chain.url, folder, note);
    const session = deployed.open();
    const [operator, alice, bob] = deployed.accounts;
    if (operator === undefined || alice === undefined || bob === undefined) throw new Error("too few accounts");
    await register(session, alice);
    await register(session, bob);
    const letters = Array.from({ length: anchors }, (_, i) => ({ to: bob, content: contentOfText(`message ${i}`) }));
    await send(session, alice, letters);
    const room = roomIdOf(session.deployment, alice, bob);
    const cids = session.mailbox.messages(room).map(({ cid }) => cid);
    const { url, service } = await startIndexer(session, chain.url.replace("http", protocol), pollIntervalMs);
    const listening = new AbortController();
    try {
      const changes = new Changes(url, listening.signal);
      const times: number[] = [];
      let tip: Tip | null = null;
      for (const [index, cid] of cids.entries()) {
        const delta = new Map([[room, [cid]]]);
        const draft = draftManifest(tip, delta);
        await session.content.put(draft.blocks);
        // Evenly between two looks at the chain: the one that showed the message before is just over.
        await sleep(((index + 0.5) / anchors) * pollIntervalMs);
        times.push(await untilVisible(session, operator, draft.cid, `${url}/v1/messages/${cid}`, changes));
        const state: State = (tip?.state ?? State.EMPTY).after(delta, index);
        tip = { index, cid: draft.cid, seq: index, state };
      }
      return median(times);
    } finally {
      listening.abort();
      await service.stop();
      await session.close();
    }
  } finally {
    await chain.service.stop();
    for (const name of await readdir(folder)) await rm(join(folder, name), { recursive: true, force: true });
    await rm(folder, { recursive: true, force: true });
  }
}

/** The indexer's live updates, as a client has them that does not keep asking, which would take the cores of those it asks. */
class Changes {
  private readonly events: ReturnType<IndexerClient["events"]>;
  private event: Promise<unknown>;

  constructor(url: string, signal: AbortSignal) {
    this.events = new IndexerClient(url).events({ signal });
    this.event = this.events.next();
  }

  /** Resolves at the next event that nobody waited for yet. */
  async next(): Promise<void> {
    await this.event;
    this.event = this.events.next();
  }
}

/** From the answer of the node, which mines at once, to the first answer of the indexer that has the message verified. */
async function untilVisible(
  { rpc, deployment }: Session,
  from: string,
  manifest: Cid,
  url: string,
  changes: Changes,
): Promise<number> {
  const data = cidStoreInterface.encodeFunctionData("storeCID", [manifest]);
  await rpc.request({ method: "eth_sendTransaction", params: [{ from, to: deployment.cidStore, data }] });
  const minedAtMs = performance.now();
  for (;;) {
    const answer = await fetch(url);
    if ((await answer.text()).includes('"status":"verified"') && answer.ok) return performance.now() - minedAtMs;
    await changes.next();
  }
}
