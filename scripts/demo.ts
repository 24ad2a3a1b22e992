/** `npm run demo`: the main job, from two wallets to a history that a stranger rebuilds, over real wires. */
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { checksummed, type Address } from "../protocol/address.ts";
import { contentOfText } from "../protocol/content.ts";
import { anchor } from "../tasks/anchor.ts";
import { register } from "../tasks/keys-register.ts";
import { pin } from "../tasks/pin.ts";
import { send } from "../tasks/send.ts";
import type { Session } from "../tasks/session.ts";
import { plural, short } from "../tasks/terminal.ts";
import { compareViews, formatConversation, readChainView, readIndexerView, type View } from "./demo-view.ts";
import { deployLocally } from "./local-deployment.ts";
import { readOptions } from "./options.ts";
import { startAnvil, startIndexer, type Service } from "./service.ts";
import { ROOT } from "./tool.ts";

interface People {
  readonly alice: Address;
  readonly bob: Address;
}

/** What is said before the first anchor, and between the first and the second. */
const FIRST = [
  ["alice", "Hi Bob, this is Alice. Only you can read this. 🔐"],
  ["bob", "Grüß dich, Alice! Получилось? 你好! مرحبا! हैलो 👋🏽"],
  ["alice", "A list:\n- one\n\n- two, after an empty line"],
] as const;
const SECOND = [
  ["bob", "And a long one: " + "All of it arrives, or none of it. ".repeat(3_100).slice(0, 102_384)],
  ["alice", "Got all 100 kB of it. 🎉 See you on chain!"],
] as const;

const started = performance.now();
const services: Service[] = [];
let folder: string | undefined;
const ending = { hasBegun: false };

const { values } = readOptions({
  command: "npm run demo",
  about:
    "Two wallets write to each other on a chain of this machine, an operator anchors it, and a stranger rebuilds and verifies the history.\nIt needs no configuration, and leaves nothing behind.",
  options: {
    keep: { type: "flag", about: "Leave chain and indexer running, and say how to look around; Ctrl-C ends both" },
    text: { type: "text", value: "TEXT", about: "Words of your own that Alice sends as well" },
  },
});
process.once("SIGINT", () => void leave(130));
process.once("SIGTERM", () => void leave(143));
try {
  const ok = await run(values.keep, values.text);
  if (!values.keep || !ok) await leave(ok ? 0 : 65);
} catch (error) {
  // After a signal, what failed is what its services were needed for.
  if (ending.hasBegun) await new Promise(() => undefined);
  process.stderr.write(`\n${error instanceof Error ? (error.stack ?? error.message) : String(error)}\n`);
  await leave(70);
}

/** @returns whether every message was verified and both rebuilds are equal */
async function run(keep: boolean, ownText: string | undefined): Promise<boolean> {
  folder = keep ? join(ROOT, ".dmtp", "demo") : await mkdtemp(join(tmpdir(), "dmtp-demo-"));
  if (keep) {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
  }
  say("DMTP: messages from wallet to wallet, encrypted end to end, with a history that anyone can prove\n");

  const chain = await step("start a local chain as a process of its own", async () => {
    const { url, service } = await startAnvil();
    services.push(service);
    return { value: url, result: url };
  });

  const { open, people } = await step("compile, and deploy KeyRegistry and CIDStore with Ignition", async () => {
    const { open, accounts } = await deployLocally(chain, join(folder ?? "", "data"), say);
    const [, alice, bob] = accounts;
    if (alice === undefined || bob === undefined) throw new Error("the local chain has no accounts");
    const { cidStore, keyRegistry } = open().deployment;
    const result = `KeyRegistry ${short(checksummed(keyRegistry))}, CIDStore ${short(checksummed(cidStore))}`;
    return { value: { open, people: { alice, bob } }, result };
  });
  const session = open();
  const opening = ownText === undefined ? FIRST : [...FIRST, ["alice", ownText] as const];

  await step("Alice and Bob make keys, sealed to their wallets", async () => {
    await register(session, people.alice);
    await register(session, people.bob);
    return {
      value: undefined,
      result: `Alice ${short(checksummed(people.alice))}, Bob ${short(checksummed(people.bob))}`,
    };
  });
  await step("they write to each other", () => converse(session, people, opening));
  await step("pin, and anchor", () => pinAndAnchor(session));
  await step("they write more", () => converse(session, people, SECOND));
  await step("pin, and anchor again", () => pinAndAnchor(session));

  const sent = [...opening, ...SECOND].map(([, text]) => text);
  const indexer = await step("start the indexer on an empty index", async () => {
    const since = performance.now();
    const value = await startIndexer(session, chain);
    services.push(value.service);
    return { value, result: `${value.url}, ready in ${Math.round(performance.now() - since)} ms` };
  });
  const served = await step("read the room back over HTTP, open it with Alice's wallet", async () => {
    const view = await readIndexerView(indexer.url, session, people.alice, people.bob);
    return { value: view, result: `${plural(view.messages.length, "message")}, state root ${short(view.state)}` };
  });

  const rebuilt = await step("delete index and mailbox; rebuild from chain and blocks alone", async () => {
    await indexer.service.stop();
    await session.close();
    for (const name of await readdir(session.folder)) {
      if (name !== "blocks") await rm(join(session.folder, name), { recursive: true });
    }
    const view = await readChainView(open(), people.bob, people.alice);
    return { value: view, result: `${plural(view.messages.length, "message")}, state root ${short(view.state)}` };
  });

  say(
    formatConversation(
      rebuilt,
      new Map([
        [people.alice, "Alice"],
        [people.bob, "Bob"],
      ]),
    ),
  );
  const problems = compareViews(served, rebuilt, sent);
  report(served, problems);
  if (keep && problems.length === 0) {
    const { url, service } = await startIndexer(session, chain);
    services.push(service);
    await printKept(session, people, chain, url);
  } else if (problems.length === 0) printNext();
  return problems.length === 0;
}

async function converse(
  session: Session,
  people: People,
  lines: readonly (readonly ["alice" | "bob", string])[],
): Promise<{ value: undefined; result: string }> {
  for (const [who, text] of lines) {
    const to = who === "alice" ? people.bob : people.alice;
    await send(session, people[who], [{ to, content: contentOfText(text) }]);
  }
  return { value: undefined, result: `${plural(lines.length, "message")}, encrypted, signed and on disk` };
}

async function pinAndAnchor(session: Session): Promise<{ value: undefined; result: string }> {
  await pin(session);
  const { data } = await anchor(session);
  const { anchored, anchors } = data as { anchored: number; anchors: { manifest: string; gasUsed: string }[] };
  const { manifest = "", gasUsed } = anchors[0] ?? {};
  return {
    value: undefined,
    result: `${plural(anchored, "message")} in ${short(manifest)}, ${Number(gasUsed).toLocaleString("en")} gas`,
  };
}

function report(view: View, problems: readonly string[]): void {
  if (problems.length > 0) {
    say(`NOT PROVED\n${problems.map((problem) => `  ✗ ${problem}`).join("\n")}`);
    return;
  }
  say(
    [
      "Proved, from the chain and the blocks alone:",
      `  ✓ all ${plural(view.messages.length, "message")} were signed by keys that their senders' wallets signed`,
      "  ✓ nothing is missing, repeated or out of order: every room root and the state root match the anchors on chain",
      "  ✓ the indexer's answer and the rebuild without it are equal, message by message",
      "  ✓ both wallets open every message, and read what was written",
      `\n${((performance.now() - started) / 1_000).toFixed(1)} s`,
    ].join("\n"),
  );
}

function printNext(): void {
  say(
    [
      "\nNext:",
      "  npm run demo -- --keep           leave chain and indexer running, and look around",
      '  npm run demo -- --text "…"       send your own words',
      "  npm test                         run every test",
    ].join("\n"),
  );
}

async function printKept(
  { deployment, environment }: Session,
  people: People,
  rpcUrl: string,
  indexerUrl: string,
): Promise<void> {
  const variables = {
    LOCALHOST_RPC_URL: rpcUrl,
    DMTP_DATA_DIR: environment.dataDir ?? "",
    CID_STORE_ADDRESS: checksummed(deployment.cidStore),
    KEY_REGISTRY_ADDRESS: checksummed(deployment.keyRegistry),
  };
  const lines = Object.entries(variables).map(([name, value]) => `export ${name}='${value}'\n`);
  await writeFile(join(ROOT, ".dmtp", "demo", "env"), lines.join(""));
  const bob = checksummed(people.bob);
  say(
    [
      `\nStill running: chain ${rpcUrl}, indexer ${indexerUrl}. Ctrl-C ends both.`,
      "Next, in another terminal, after `source .dmtp/demo/env`:",
      `  npx hardhat history --network localhost --from ${checksummed(people.alice)} --with ${bob}`,
      "  npx hardhat audit --network localhost",
      `  curl ${indexerUrl}/v1/rooms`,
    ].join("\n"),
  );
}

/** Runs one step, says what it does while it does it, and what came out of it. */
async function step<T>(what: string, work: () => Promise<{ readonly value: T; readonly result: string }>): Promise<T> {
  if (process.stdout.isTTY) process.stdout.write(`${what} …`);
  const { value, result } = await work();
  process.stdout.write(`${process.stdout.isTTY ? "\r\x1b[K" : ""}✓ ${what}\n    ${result}\n`);
  return value;
}

function say(text: string): void {
  process.stdout.write(`${text}\n`);
}

/** Ends every process that was started, removes what was written, and exits. */
async function leave(code: number): Promise<void> {
  if (ending.hasBegun) return;
  ending.hasBegun = true;
  await Promise.allSettled(services.map((service) => service.stop()));
  if (folder !== undefined) await rm(folder, { recursive: true, force: true });
  process.exit(code);
}
