/**
 * `npm run schemathesis`: holds the indexer against its own OpenAPI document, with thousands of requests that Schemathesis makes
 * from it, good and bad; and its metrics against Prometheus' own parser.
 */
import { spawn } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { IndexerClient } from "../client/indexer.ts";
import type { Address } from "../protocol/address.ts";
import { contentOfText } from "../protocol/content.ts";
import { parseRoomId, roomIdOf } from "../protocol/room.ts";
import { anchor } from "../tasks/anchor.ts";
import { register } from "../tasks/keys-register.ts";
import { pin } from "../tasks/pin.ts";
import { send } from "../tasks/send.ts";
import type { Session } from "../tasks/session.ts";
import { deployLocally } from "./local-deployment.ts";
import { readOptions } from "./options.ts";
import { pythonTools } from "./python.ts";
import { startIndexer, startLocalChain, type Service } from "./service.ts";
import { findTool, ROOT } from "./tool.ts";

interface Parameter {
  readonly name: string;
  example?: string;
}

/** Parameters of the document by what they name, so that requests also meet what there is. */
type Examples = Readonly<Record<string, string>>;

/** An answer that has no end. Its parameters are those of other paths; test/indexer/events.test.ts has the rest. */
const ENDLESS = "/v1/events";

/** Prometheus' own reader of the text format, which refuses what a scraper would. */
const PARSE_METRICS = `
import sys, urllib.request
from prometheus_client.parser import text_string_to_metric_families as parse
families = list(parse(urllib.request.urlopen(sys.argv[1]).read().decode()))
samples = sum(len(family.samples) for family in families)
print(f"metrics: {len(families)} families, {samples} samples")
sys.exit(0 if samples > 30 else 1)`;

const { values } = readOptions({
  command: "npm run schemathesis",
  about:
    "Holds the indexer against its own OpenAPI document, with thousands of requests that Schemathesis makes from it.\nNeeds Python 3, and PyPI the first time.",
  options: {
    seed: { type: "count", value: "N", about: "Where chance begins", default: 1 },
    examples: {
      type: "count",
      value: "N",
      about: "At most so many requests for each operation and phase",
      default: 50,
    },
  },
});
const bin = pythonTools(join(ROOT, "scripts", "schemathesis-requirements.txt"));
const folder = await mkdtemp(join(tmpdir(), "dmtp-schemathesis-"));
const services: Service[] = [];
try {
  const chain = await startLocalChain(findTool("hardhat"));
  services.push(chain.service);
  const note = (text: string): void => void process.stderr.write(`${text}\n`);
  const { open, accounts } = await deployLocally(chain.url, folder, note);
  const session = open();
  const examples = await converse(session, accounts);
  const indexer = await startIndexer(session, chain.url);
  services.push(indexer.service);
  const first = await run("schemathesis", await argumentsFor(indexer.url, examples));
  const second = await run("python", ["-c", PARSE_METRICS, `${indexer.url}/metrics`]);
  await session.close();
  process.exitCode = first === 0 && second === 0 ? 0 : 1;
} finally {
  await Promise.allSettled(services.map((service) => service.stop()));
  await rm(folder, { recursive: true, force: true });
}

/** A small real history: two rooms, three anchors. */
async function converse(session: Session, accounts: readonly Address[]): Promise<Examples> {
  const [, alice, bob, carol] = accounts;
  if (alice === undefined || bob === undefined || carol === undefined)
    throw new Error("the chain has too few accounts");
  for (const person of [alice, bob, carol]) await register(session, person);
  for (const round of [1, 2, 3]) {
    await send(session, alice, [{ to: bob, content: contentOfText(`message ${round}`) }]);
    await send(session, carol, [{ to: alice, content: contentOfText(`message ${round}`) }]);
    await pin(session);
    await anchor(session, undefined);
  }
  return { room: roomIdOf(session.deployment, alice, bob), wallet: alice, index: "1" };
}

async function argumentsFor(url: string, examples: Examples): Promise<string[]> {
  const document = (await (await fetch(`${url}/openapi.json`)).json()) as {
    paths: Record<string, { get: { parameters?: Parameter[] } }>;
  };
  const first = await new IndexerClient(url).messages(parseRoomId(examples["room"]), { limit: 1 }).next();
  if (first.done === true) throw new Error("the room has no message");
  const known: Examples = { ...examples, cid: first.value.cid };
  for (const { get } of Object.values(document.paths)) {
    for (const parameter of get.parameters ?? []) {
      const example = known[parameter.name];
      if (example !== undefined) parameter.example = example;
    }
  }
  // No schema can say which cursors a list gave: only there may a request be refused that looks right.
  const paged = Object.entries(document.paths).filter(([, { get }]) =>
    get.parameters?.some(({ name }) => name === "cursor"),
  );
  const config = paged.map(
    ([path]) => `[[operations]]\ninclude-path = "${path}"\nchecks.positive_data_acceptance.enabled = false\n`,
  );
  await writeFile(join(folder, "schemathesis.toml"), config.join("\n"));
  const path = join(folder, "openapi.json");
  await writeFile(path, JSON.stringify(document));
  return [
    ...["run", path, "--url", url, "--exclude-path", ENDLESS, "--workers", "2"],
    ...["--seed", String(values.seed), "--max-examples", String(values.examples), "--no-color"],
    ...["--request-timeout", "5", "--generation-database", "none"],
  ];
}

function run(command: string, args: readonly string[]): Promise<number | null> {
  return new Promise((resolve, reject) => {
    const child = spawn(join(bin, command), args, { cwd: folder, stdio: ["ignore", "inherit", "inherit"] });
    child.once("error", reject);
    child.once("exit", resolve);
  });
}
