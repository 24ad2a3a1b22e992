/** A chain and a machine's folder that are put back for each fault, so that every run meets the same. */
import { cpSync, existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join, relative } from "node:path";
import { fileURLToPath } from "node:url";

import Database from "better-sqlite3";

import { EmbeddedStore } from "../../io/content/embedded.ts";
import { rebuild } from "../../io/history.ts";
import { toHex } from "../../protocol/bytes.ts";
import { isCid, type Cid } from "../../protocol/cid.ts";
import { ERRORS } from "../../protocol/error.ts";
import { DEFAULT_OPTIONS } from "../../tasks/anchor-options.ts";
import { anchorRound } from "../../tasks/anchor-round.ts";
import { EXIT_CODES } from "../../io/exit-codes.ts";
import type { Session } from "../../tasks/session.ts";
import { ALICE, BOB } from "../fixtures/history.ts";
import { Operator } from "../fixtures/operator.ts";
import { databasesIn, openMachine, pathsIn } from "./machine.ts";
import { runTraced, type Ending, type Fault } from "./strace.ts";

export interface Scenario {
  readonly name: string;
  readonly command: "anchor" | "send";
  /** What of the machine's data folder is taken away before: paths in it, or all of it. */
  readonly without: readonly string[] | "everything";
  /** The payer's key lies at the node, which tells a transaction's hash only when it has it. */
  readonly isSignedByNode?: boolean;
}

/**
 * The machine has anchored one message, whose block is final since, and two wait. A run finds work for every kind of write:
 * it settles the first, and anchors the others.
 */
export const SCENARIOS: readonly Scenario[] = [
  { name: "anchor", command: "anchor", without: [] },
  { name: "anchor, the node signs", command: "anchor", without: [], isSignedByNode: true },
  { name: "anchor, no block store yet", command: "anchor", without: ["blocks"] },
  { name: "anchor, new machine", command: "anchor", without: "everything" },
  { name: "send", command: "send", without: [] },
  { name: "send, no mailbox yet", command: "send", without: ["mailbox.sqlite"] },
];

export interface Observation {
  readonly ending: Ending;
  /** What should not be so; empty when all is well. */
  readonly problems: readonly string[];
}

const COMMAND = fileURLToPath(new URL("command.ts", import.meta.url));
const FINAL_AFTER_BLOCKS = 70;
const quiet = (): void => undefined;
const SILENT = { result: quiet, note: quiet, progress: quiet };

export class Laboratory {
  private readonly operator: Operator;
  private readonly folder: string;
  private readonly template: string;
  /** The deployment's data folder, in the machine's. */
  private readonly data: string;
  private readonly earlier: readonly Cid[];
  private readonly waiting: readonly Cid[];
  private snapshot: unknown;
  private runs = 0;

  private constructor(
    operator: Operator,
    folder: string,
    data: string,
    earlier: Cid[],
    waiting: Cid[],
    snapshot: unknown,
  ) {
    this.operator = operator;
    this.folder = folder;
    this.template = join(folder, "template");
    this.data = data;
    this.earlier = earlier;
    this.waiting = waiting;
    this.snapshot = snapshot;
  }

  static async open(): Promise<Laboratory> {
    const operator = await Operator.start();
    const folder = mkdtempSync(join(tmpdir(), "dmtp-disk-faults-"));
    const template = join(folder, "template");
    const session = await openMachine(machineOf(operator, template), operator.deployed.anchorer.privateKey, SILENT);
    // Both keys' documents, without which nobody can write.
    await session.content.put([...operator.conversation.blocks].map(([cid, bytes]) => ({ cid, bytes })));
    const earlier = await operator.send(session, 1);
    await anchorRound(session, DEFAULT_OPTIONS);
    await operator.mine(FINAL_AFTER_BLOCKS);
    const waiting = await operator.send(session, 2);
    const data = relative(template, session.folder);
    await session.close();
    return new Laboratory(operator, folder, data, earlier, waiting, await operator.dev("evm_snapshot"));
  }

  async close(): Promise<void> {
    await this.operator.stop();
    rmSync(this.folder, { recursive: true, force: true });
  }

  /** Runs the command with a fault, or with none, then without one, and looks at what is there. */
  async run(scenario: Scenario, fault: Fault | null): Promise<Observation> {
    await this.operator.dev("evm_revert", this.snapshot);
    this.snapshot = await this.operator.dev("evm_snapshot");
    const folder = join(this.folder, `run-${this.runs++}`);
    const data = join(folder, this.data);
    if (scenario.without !== "everything") {
      cpSync(this.template, folder, { recursive: true });
      for (const name of scenario.without) rmSync(join(data, name), { recursive: true });
    }
    try {
      const ending = await this.start(scenario, folder, fault);
      const problems = [...problemsOf(ending)];
      if (problems.length === 0) problems.push(...(await this.examine(scenario, folder, ending)));
      return { ending, problems };
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  }

  private start({ command, isSignedByNode = false }: Scenario, folder: string, fault: Fault | null): Promise<Ending> {
    const { url, cidStore, keyRegistry } = machineOf(this.operator, folder);
    const { anchorer } = this.operator.deployed;
    const key = command === "send" ? toHex(ALICE.wallet.privateKey) : anchorer.privateKey;
    const payer = isSignedByNode ? anchorer.address : key;
    const args = [COMMAND, command, url, cidStore, keyRegistry, folder, payer, BOB.address];
    return runTraced(args, pathsIn(folder, join(folder, this.data)), `${folder}.trace`, fault);
  }

  /** What was acknowledged is there; what the chain has is what was said; a run without faults anchors everything, once. */
  private async examine(scenario: Scenario, folder: string, ending: Ending): Promise<string[]> {
    const problems: string[] = [];
    const said = ending.code === 0 ? (JSON.parse(ending.stdout) as Said) : {};
    const acknowledged = (said.messages ?? []).map(({ cid }) => cid).filter(isCid);
    const waiting =
      scenario.without === "everything" || scenario.without.includes("mailbox.sqlite") ? [] : this.waiting;
    const entries = await this.operator.entryCount();
    if (ending.code === 0 && scenario.command === "anchor") {
      const { length } = waiting;
      if (said.anchored !== length)
        problems.push(`it said that it anchored ${said.anchored ?? "?"} of ${length} messages`);
      if (entries !== 1 + Math.min(1, length))
        problems.push(`it said that it anchored, and CIDStore has ${entries} entries`);
    }
    if (ending.code === 0 && scenario.command === "send" && acknowledged.length !== 1)
      problems.push("it sent, and did not say what");

    const session = await openMachine(
      machineOf(this.operator, folder),
      this.operator.deployed.anchorer.privateKey,
      SILENT,
    );
    try {
      const lost = [...waiting, ...acknowledged].filter((cid) => session.mailbox.message(cid) === null);
      if (lost.length > 0) problems.push(`lost: ${lost.join(", ")}`);
      await anchorRound(session, DEFAULT_OPTIONS);
      problems.push(...(await this.examineEnd(session, [...waiting, ...acknowledged])));
    } catch (error) {
      problems.push(`the next run fails: ${error instanceof Error ? error.message : String(error)}`);
    } finally {
      await session.close();
    }
    for (const path of databasesIn(join(folder, this.data)))
      if (existsSync(path) && !isSound(path)) problems.push(`${path} is damaged`);
    return problems;
  }

  /** @param expected must be anchored; one that was not acknowledged may be, behind them */
  private async examineEnd({ mailbox, content, reader }: Session, expected: readonly Cid[]): Promise<string[]> {
    const problems: string[] = [];
    const { unanchored } = mailbox.counts();
    if (unanchored > 0) problems.push(`${unanchored} messages still wait`);
    const before = new EmbeddedStore(join(this.template, this.data, "blocks"));
    const { events } = await reader.allEvents();
    const source = { get: async (cid: Cid) => (await content.get(cid)) ?? (await before.get(cid)) };
    const replay = await rebuild(reader.deployment, events, source);
    await before.close();
    const anchored = replay.entries(this.operator.conversation.room(ALICE, BOB));
    const bad = [...replay.anchors, ...anchored].find(({ verdict }) => verdict.status !== "verified");
    if (bad !== undefined) problems.push(`not verified: ${JSON.stringify(bad.verdict)}`);
    const cids = anchored.map(({ cid }) => cid);
    const must = [...this.earlier, ...expected];
    if (must.some((cid, i) => cids[i] !== cid)) problems.push(`anchored in another way: ${cids.join(", ")}`);
    if (cids.length > must.length + 1) problems.push(`${cids.length} messages are anchored`);
    const entries = 1 + (cids.length > 1 ? 1 : 0);
    if (replay.anchors.length !== entries)
      problems.push(`CIDStore has ${replay.anchors.length} entries in place of ${entries}`);
    return problems;
  }
}

interface Said {
  readonly anchored?: number;
  readonly messages?: { readonly cid: string }[];
}

function machineOf({ chain, deployed }: Operator, folder: string): Parameters<typeof openMachine>[0] {
  return { url: chain.url, ...deployed.deployment, folder };
}

/** What is wrong with how it ended: it says with a code and a hint that trying again can help, or it is done. */
function* problemsOf({ code, stdout, stderr }: Ending): Generator<string> {
  if (code === null) yield "it did not end by itself";
  else if (code !== 0 && code !== EXIT_CODES.unavailable) yield `exit code ${code}: ${stderr.trim()}`;
  if (/^ +at /m.test(stderr)) yield `a stack trace: ${stderr.trim()}`;
  const error = /^error\[(\w+)\]: .+\nhint: .+$/m.exec(stderr)?.[1];
  if (code === EXIT_CODES.unavailable) {
    if (error === undefined || !(error in ERRORS)) yield `no error line: ${stderr.trim()}`;
    if (!stdout.includes(`"code": "${error ?? ""}"`)) yield `standard output is no error document: ${stdout.trim()}`;
  }
  if (code === 0 && error !== undefined) yield `exit code 0, and an error: ${stderr.trim()}`;
}

function isSound(path: string): boolean {
  const database = new Database(path);
  const answer = database.pragma("quick_check", { simple: true });
  database.close();
  return answer === "ok";
}
