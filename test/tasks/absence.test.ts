import { join } from "node:path";

import { expect } from "chai";

import { EmbeddedStore } from "../../io/content/embedded.ts";
import { GatewaySource } from "../../io/content/gateway.ts";
import { ReplicatedStore } from "../../io/content/replicated.ts";
import { cidOf, type Cid } from "../../protocol/cid.ts";
import { encode } from "../../protocol/cbor-encoder.ts";
import { contentOfText } from "../../protocol/content.ts";
import { draftManifest } from "../../protocol/manifest.ts";
import { roomIdOf } from "../../protocol/room.ts";
import { anchor } from "../../tasks/anchor.ts";
import { audit } from "../../tasks/audit.ts";
import type { Outcome } from "../../tasks/command.ts";
import { exportHistory } from "../../tasks/export.ts";
import { history } from "../../tasks/history.ts";
import { register } from "../../tasks/keys-register.ts";
import { send } from "../../tasks/send.ts";
import type { Session } from "../../tasks/session.ts";
import { storeText } from "../fixtures/anchor.ts";
import { openDeployment, type TestDeployment } from "../fixtures/deployment.ts";
import { useFolder } from "../fixtures/folder.ts";
import { deltaOf } from "../fixtures/history.ts";
import { giving, HostileGateway } from "../fixtures/hostile-gateway.ts";

/** Instead of 30 s. */
const SEARCH_MS = 1_000;
const RANDOM_ANCHORS = 32;
const DIGESTS = 120;

function nothing(name: string, count: number): Cid[] {
  return Array.from({ length: count }, (_, i) => cidOf(encode([name, i])));
}

describe("Digests of nothing, for who reads from a gateway that searches long", function () {
  this.timeout(300_000);
  const folder = useFolder();
  let chain: TestDeployment;
  let writer: Session;
  let gateway: HostileGateway;
  let url: URL;
  /** What was anchored that nobody has; and blocks that turned up since. */
  const absent = new Set<Cid>();
  const late = new Map<Cid, Uint8Array>();
  let searched: Cid[];
  let searching = 0;
  let mostSearching = 0;

  before(async () => {
    chain = await openDeployment();
    writer = chain.open();
    await register(writer, chain.alice);
    await register(writer, chain.bob);
    await send(writer, chain.alice, [{ to: chain.bob, content: contentOfText("hello") }]);
    await anchor(writer);
    const { signer } = await writer.signer(chain.operator);
    for (const cid of nothing("an anchor", RANDOM_ANCHORS)) {
      absent.add(cid);
      await storeText(signer, writer.deployment, cid);
    }
    // A manifest that lists them in the room of Alice and Bob.
    const listed = nothing("a message", DIGESTS);
    for (const cid of listed) absent.add(cid);
    const draft = draftManifest(null, deltaOf([roomIdOf(writer.deployment, chain.alice, chain.bob), listed]));
    await writer.content.put(draft.blocks);
    await storeText(signer, writer.deployment, draft.cid);
  });
  after(async () => {
    await writer.close();
    await chain.close();
  });

  beforeEach(async () => {
    late.clear();
    searched = [];
    searching = 0;
    mostSearching = 0;
    gateway = new HostileGateway();
    gateway.answer = (response, { url: path = "" }) => {
      const cid = /\/ipfs\/([a-z0-9]+)/.exec(path)?.[1] as Cid;
      if (absent.has(cid) && !late.has(cid)) {
        searched.push(cid);
        mostSearching = Math.max(mostSearching, ++searching);
        response.once("close", () => (searching -= 1));
        return;
      }
      void writer.content.get(cid).then((bytes) => giving(late.get(cid) ?? bytes!)(response, undefined as never));
    };
    url = await gateway.start();
  });
  afterEach(() => gateway.stop());

  /** A command of a machine that has nothing yet, or of the same machine later. */
  async function run(
    name: string,
    command: (session: Session) => Promise<Outcome>,
    now: () => number = Date.now,
  ): Promise<Outcome> {
    const { environment } = writer;
    const local = new EmbeddedStore(join(folder(), name, "blocks"));
    const content = new ReplicatedStore([local], [new GatewaySource(url, { limits: { silenceMs: SEARCH_MS } })]);
    const finderTimes = { againMs: 300, doubtMs: 2 * SEARCH_MS };
    const other = { ...environment, dataDir: join(folder(), name) };
    const session = chain.open({ content, environment: other, finderTimes, now });
    searched = [];
    mostSearching = 0;
    try {
      return await command(session);
    } finally {
      await session.close();
      await content.close();
    }
  }

  const read = (session: Session): Promise<Outcome> => history(session, chain.bob, chain.alice);
  /** What is absent is asked for again some seconds later: a slow machine must not make a next run a later one. */
  const startedAtMs = Date.now();
  const atOnce = (): number => startedAtMs;

  it("cost `history` one search each, a few for an anchor that lists many, and the next run nothing", async () => {
    const first = await run("history", read, atOnce);
    expect(new Set(searched).size).to.equal(searched.length);
    expect(searched.length).to.be.within(RANDOM_ANCHORS + 4, RANDOM_ANCHORS + 40);
    const second = await run("history", read, atOnce);
    expect(searched.length).to.be.at.most(4);
    for (const { data, text, error } of [first, second]) {
      expect(error?.code).to.equal("HISTORY_INCOMPLETE");
      expect(data).to.deep.include({ counts: { verified: 1, rejected: 0, missing: DIGESTS, pending: 0 } });
      expect(data).to.have.nested.property("messages.length", 1);
      expect(data).to.have.nested.property("unshown[0].cids.length", 100);
      expect(text.split("\n").slice(1)).to.deep.equal([
        "  hello",
        "",
        `… 120 entries of this room cannot be shown: their content is missing (since anchor ${RANDOM_ANCHORS + 1})`,
        "every message that a later one counts or names is here; what is missing may be the newest, or none",
      ]);
    }
  });

  it("cost `audit`, `export` and a `send` that catches up the first run only", async () => {
    const file = join(folder(), "export.car");
    const commands: Record<string, (session: Session) => Promise<Outcome>> = {
      audit: (session) => audit(session),
      export: (session) => exportHistory(session, file, { room: null, wallet: null, since: 0 }),
      send: (session) => {
        const drafts = [{ to: chain.bob, content: contentOfText("and more") }];
        return send(session, chain.alice, drafts, undefined, { acceptsMissing: true });
      },
    };
    for (const [name, command] of Object.entries(commands)) {
      await run(name, command, atOnce);
      expect(searched.length, name).to.be.within(RANDOM_ANCHORS + 4, RANDOM_ANCHORS + 80);
      await run(name, command, atOnce);
      expect(searched.length, name).to.be.at.most(4);
    }
    // What one command found absent, another does not wait for.
    const { text } = await run(
      "audit",
      (session) => audit(session, roomIdOf(writer.deployment, chain.alice, chain.bob)),
      atOnce,
    );
    expect(searched.length).to.be.at.most(4);
    expect(text).to.match(/^… 32 anchors cannot be shown: their content is missing \(since anchor 1\)$/m);
    expect(text.split("\n").length).to.be.lessThan(15);
  });

  it("are asked for again later, two at once and for a short while; what turned up is shown", async () => {
    await run("later", read);
    const hour = () => Date.now() + 3_600_000;
    await run("later", read, hour);
    expect(searched.length).to.be.within(1, 8);
    expect(mostSearching).to.be.at.most(2);
    // All that the manifest lists turns up: the first that is found has the rest asked for.
    for (let i = 0; i < DIGESTS; i++) late.set(nothing("a message", DIGESTS)[i]!, encode(["a message", i]));
    const day = () => Date.now() + 86_400_000;
    const { data } = await run("later", read, day);
    expect(data).to.deep.include({ counts: { verified: 1, rejected: DIGESTS, missing: 0, pending: 0 } });
  });

  it("are waited for when told so", async () => {
    await run("told", read);
    await run("told", (session) => history(session, chain.bob, chain.alice, undefined, true));
    expect(new Set(searched).size).to.equal(RANDOM_ANCHORS + DIGESTS);
  });
});
