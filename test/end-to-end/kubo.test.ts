import { expect } from "chai";

import { cidOfDigest, type Cid } from "../../protocol/cid.ts";
import { contentOfText } from "../../protocol/content.ts";
import { startIndexer } from "../../indexer/indexer.ts";
import { KuboStore } from "../../io/content/kubo.ts";
import type { IpfsApi } from "../../io/environment.ts";
import { roomIdOf } from "../../protocol/room.ts";
import type { KuboDaemon } from "../../scripts/kubo-daemon.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import { exportHistory } from "../../tasks/export.ts";
import { importHistory } from "../../tasks/import.ts";
import { register } from "../../tasks/keys-register.ts";
import { pin } from "../../tasks/pin.ts";
import { checkPins, copyTo, repairPins } from "../../tasks/replicate.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { anchorsOf } from "../fixtures/anchor.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { useFolder } from "../fixtures/folder.ts";
import { describeKubo } from "../fixtures/kubo.ts";
import { codeOfAsync } from "../fixtures/refusal.ts";
import { fixedBytes } from "../fixtures/wallet.ts";

const TEXTS = ["one", "two", "drei 🎉", "four", "five"];
const MESSAGES = { verified: TEXTS.length, rejected: 0, missing: 0 };

/** A session whose clock and randomness are fixed: the same conversation twice is the same bytes. */
function openSession(chain: TestDeployment, ipfsApis: readonly IpfsApi[], dataDir: string): Session {
  let ticks = 0;
  let draws = 0;
  const { environment } = chain.open();
  return chain.open({
    environment: { ...environment, dataDir, ipfsApis },
    now: () => 1_700_000_000_000 + 1_000 * ticks++,
    random: (sizeBytes) => fixedBytes(`draw ${draws++}`).slice(0, sizeBytes),
  });
}

/** Two people register, and write to each other over two anchors. @returns the manifests' and the messages' CIDs */
async function converse(session: Session, { alice, bob }: TestDeployment): Promise<{ manifests: Cid[]; cids: Cid[] }> {
  const manifests: Cid[] = [];
  await register(session, alice);
  await register(session, bob);
  for (const [i, text] of TEXTS.entries()) {
    const [from, to] = i % 2 === 0 ? [alice, bob] : [bob, alice];
    await send(session, from, [{ to, content: contentOfText(text) }]);
    if (i % 2 === 1) await pin(session);
    if (i !== 1 && i !== TEXTS.length - 1) continue;
    manifests.push(...anchorsOf(await anchor(session)).map(({ manifest }) => manifest));
  }
  const room = roomIdOf(session.deployment, alice, bob);
  return { manifests, cids: session.mailbox.messages(room).map(({ cid }) => cid) };
}

function apiOf({ apiUrl }: KuboDaemon): IpfsApi {
  return { url: apiUrl, headers: {} };
}

describeKubo("A room whose blocks lie in Kubo", (start) => {
  const folder = useFolder();
  let chain: TestDeployment;
  let operator: KuboDaemon;
  let stranger: KuboDaemon;
  let said: { manifests: Cid[]; cids: Cid[] };

  const auditWith = async (daemon: KuboDaemon): Promise<unknown> => {
    const session = openSession(chain, [apiOf(daemon)], folder());
    try {
      const { data, error } = await audit(session);
      expect(error).to.equal(undefined);
      return data;
    } finally {
      await session.close();
    }
  };

  before(async () => {
    chain = await openDeployment();
    operator = await start();
    stranger = await start();
  });
  after(() => chain.close());

  it("is written while garbage is collected all the time, and has the CIDs that an embedded store has", async () => {
    const session = openSession(chain, [apiOf(operator)], folder());
    const over = new AbortController();
    const collecting = (async () => {
      while (!over.signal.aborted) {
        await fetch(new URL("/api/v0/repo/gc?quiet=true", operator.apiUrl), { method: "POST" }).then((r) => r.text());
      }
    })();
    try {
      said = await converse(session, chain);
    } finally {
      over.abort();
      await collecting;
      await session.close();
    }
    operator.run(["repo", "gc", "--quiet"]);
    expect(await auditWith(operator)).to.deep.include({ messages: MESSAGES });

    const other = await openDeployment();
    const embedded = openSession(other, [], other.dataDir);
    expect(embedded.deployment).to.deep.equal(session.deployment);
    expect(await converse(embedded, other)).to.deep.equal(said);
    await embedded.close();
    await other.close();
  });

  it("is held by its manifests alone: ipfs pin add brings a stranger everything by bitswap, and gc leaves it", async () => {
    stranger.run(["swarm", "connect", operator.address()]);
    for (const manifest of said.manifests) stranger.run(["pin", "add", manifest]);
    // Key documents are not the manifests': nobody needs them to verify a message, only their owners to open it.
    const { events } = await chain.open().reader.allEvents();
    for (const event of events) {
      if (event.kind === "key") stranger.run(["pin", "add", cidOfDigest(event.document)]);
    }
    stranger.run(["repo", "gc", "--quiet"]);
    const store = new KuboStore(stranger.apiUrl, { searchTimeoutMs: 500 });
    for (const cid of [...said.manifests, ...said.cids]) {
      expect(await store.get(cid)).to.be.instanceOf(Uint8Array);
    }
    await store.close();
  });

  it("is copied to another Kubo by pin --to, and repaired there when the pins are lost", async () => {
    const copy = await start();
    const session = openSession(chain, [apiOf(operator)], folder());
    expect((await copyTo(session, copy.apiUrl.href)).error).to.equal(undefined);
    await session.close();
    copy.run(["repo", "gc", "--quiet"]);
    expect(await auditWith(copy)).to.deep.include({ messages: MESSAGES });

    copy.run(["pin", "rm", ...copy.run(["pin", "ls", "--type=recursive", "--quiet"]).trim().split("\n")]);
    const both = openSession(chain, [apiOf(operator), apiOf(copy)], folder());
    const checked = await checkPins(both);
    expect(checked.error?.code).to.equal("CONTENT_MISSING");
    const stores = (checked.data as { findings: { store: string; missing: unknown[] }[] }).findings;
    expect(new Set(stores.map(({ store }) => store))).to.deep.equal(new Set([`Kubo at ${copy.apiUrl.host}`]));
    copy.run(["repo", "gc", "--quiet"]);
    const { error } = await repairPins(both);
    expect(error).to.equal(undefined);
    expect((await checkPins(both)).error).to.equal(undefined);
    await both.close();
    copy.run(["repo", "gc", "--quiet"]);
    expect(await auditWith(copy)).to.deep.include({ messages: MESSAGES });
    await copy.remove();
  });

  it("is exported to a file that ipfs dag import reads, pins by its roots and gives back whole", async () => {
    const session = openSession(chain, [apiOf(operator)], folder());
    const path = `${folder()}/history.car`;
    await exportHistory(session, path, { room: null, wallet: null, since: 0 });
    await session.close();
    const other = await start();
    const pinned = other.run(["dag", "import", path]);
    // Kubo pins them in no order.
    expect([...pinned.matchAll(/^Pinned root\s+(\S+)\s+success$/gm)].map(([, cid]) => cid)).to.have.members(
      said.manifests,
    );
    other.run(["repo", "gc", "--quiet"]);
    expect(await auditWith(other)).to.deep.include({ messages: MESSAGES });
    await other.remove();
  });

  it("is imported into another Kubo from such a file, and so is a part of it", async () => {
    const session = openSession(chain, [apiOf(operator)], folder());
    const paths = [`${folder()}/part.car`, `${folder()}/whole.car`];
    await exportHistory(session, paths[0]!, { room: null, wallet: null, since: 1 });
    await exportHistory(session, paths[1]!, { room: null, wallet: null, since: 0 });
    await session.close();
    const empty = await start();
    const there = openSession(chain, [apiOf(empty)], folder());
    // Kubo keeps only what is whole: of an anchor that lacks messages it takes these, and says that it can't keep the rest.
    expect(await codeOfAsync(() => importHistory(there, paths[0]!))).to.equal("CONTENT_MISSING");
    expect((await importHistory(there, paths[1]!)).error).to.equal(undefined);
    await there.close();
    empty.run(["repo", "gc", "--quiet"]);
    expect(await auditWith(empty)).to.deep.include({ messages: MESSAGES });
    await empty.remove();
  });

  it("passes the audit, and the indexer serves it, from the stranger's node alone when the operator's is gone", async () => {
    const before = await auditWith(operator);
    await operator.remove();
    expect(await auditWith(stranger)).to.deep.equal(before);

    const session = openSession(chain, [apiOf(stranger)], folder());
    const indexer = await startIndexer({
      rpcs: [session.rpc],
      addresses: session.deployment,
      content: session.content,
      indexPath: `${folder()}/index.sqlite`,
      host: "127.0.0.1",
      port: 0,
      pollIntervalMs: 50,
    });
    while (!(await fetch(`${indexer.url}/ready`)).ok) await new Promise((resolve) => setTimeout(resolve, 50));
    const room = roomIdOf(session.deployment, chain.alice, chain.bob);
    const answer = await fetch(`${indexer.url}/v1/rooms/${room}/messages`);
    const { items } = (await answer.json()) as { items: { cid: string; verdict: { status: string } }[] };
    expect(items.map(({ cid }) => cid)).to.deep.equal(said.cids);
    expect(items.every(({ verdict }) => verdict.status === "verified")).to.equal(true);
    const status = (await (await fetch(`${indexer.url}/status`)).json()) as {
      content: { sources: { state: string; found: number }[] };
    };
    expect(status.content.sources.map(({ state }) => state)).to.deep.equal(["ok"]);
    expect(status.content.sources[0]?.found).to.be.greaterThan(TEXTS.length);
    await indexer.close();
    await session.close();
  });

  it("passes the audit from a third node that has nothing, and knows the stranger's only", async () => {
    const third = await start();
    third.run(["swarm", "connect", stranger.address()]);
    expect(await auditWith(third)).to.deep.include({ messages: MESSAGES });
  });

  it("passes the audit from the stranger's gateway, with no node of one's own", async () => {
    const session = openSession(chain, [], folder());
    const { environment } = session;
    const audited = chain.open({
      environment: { ...environment, contentSources: [stranger.gatewayUrl.href] },
    });
    const { data, error } = await audit(audited);
    expect(error).to.equal(undefined);
    expect(data).to.deep.include({ messages: MESSAGES });
    await audited.close();
    await session.close();
  });
});
