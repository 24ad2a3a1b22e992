/** `npm run bench`: every figure is a ratio to a bound measured in the same run, or a limit. */
import { failWithUsage, readOptions } from "../scripts/options.ts";
import { benchAnchor } from "./anchor.ts";
import { benchSeal, benchVerify } from "./crypto.ts";
import { benchEmbedded } from "./embedded.ts";
import { benchHostile } from "./hostile.ts";
import { benchHttp } from "./http.ts";
import { benchDenseChain, benchSparseChain } from "./index.ts";
import { benchKubo } from "./kubo.ts";
import { benchRebuild } from "./rebuild.ts";
import { Report } from "./report.ts";
import { benchSend } from "./send.ts";
import { benchStarts } from "./start.ts";
import { benchVisible } from "./visible.ts";

interface Group {
  readonly what: string;
  /** @param size of `--messages` */
  readonly run: (report: Report, size?: number) => Promise<void>;
}

const GROUPS: Readonly<Record<string, Group>> = {
  seal: { what: "encrypt and sign messages", run: async (report) => report.ratio(await benchSeal()) },
  verify: { what: "verify messages of a replay", run: async (report) => report.ratio(await benchVerify()) },
  send: { what: "send messages with the command's own code", run: async (report) => report.ratio(await benchSend()) },
  embedded: { what: "write blocks into a folder", run: async (report) => report.ratio(await benchEmbedded()) },
  kubo: {
    what: "write blocks to a Kubo daemon, where there is one",
    run: async (report) => {
      const comparison = await benchKubo(report.note);
      if (comparison !== null) report.ratio(comparison);
    },
  },
  chain: {
    what: "read the events of a chain into an index",
    run: async (report) => {
      report.ratio(await benchSparseChain());
      report.ratio(await benchDenseChain());
    },
  },
  http: {
    what: "serve a room's page",
    run: async (report) => {
      const { comparison, latency } = await benchHttp();
      report.ratio(comparison);
      report.duration(latency);
    },
  },
  start: {
    what: "start the indexer, and a command",
    run: async (report) => {
      for (const duration of await benchStarts()) report.duration(duration);
    },
  },
  visible: { what: "from a mined anchor to an answer over HTTP", run: benchVisible },
  rebuild: { what: "rebuild an index of 100,000 and of a million messages", run: benchRebuild },
  hostile: { what: "the worst anchors that the format allows, and forks", run: benchHostile },
  anchor: { what: "anchor a million messages, and a hundred more", run: benchAnchor },
};

const usage = {
  command: "npm run bench",
  about: `Measures each part of the system against a bound that is measured in the same run, or against a limit. Each line is printed as
soon as it is known; stderr says what is being done. All of it takes about an hour on two cores that do nothing else.

Groups:
${Object.entries(GROUPS)
  .map(([name, { what }]) => `  ${name.padEnd(10)}${what}`)
  .join("\n")}`,
  options: {
    only: { type: "text", value: "GROUP", about: "measure one group" },
    messages: {
      type: "count",
      value: "N",
      about: "make anchor, hostile and rebuild smaller: a check that they run, not a measurement",
    },
  },
} as const;

const {
  values: { only, messages },
} = readOptions(usage);
if (only !== undefined && !(only in GROUPS)) failWithUsage(usage, `there is no group "${only}"`);
if (messages !== undefined && !(Number.isSafeInteger(messages) && messages > 0)) {
  failWithUsage(usage, "--messages takes a whole number from 1");
}
const report = new Report(
  (line) => void process.stdout.write(`${line}\n`),
  (text) => void process.stderr.write(`${text}\n`),
);
for (const [name, { what, run }] of Object.entries(GROUPS)) {
  if (only !== undefined && only !== name) continue;
  report.note(`${name}: ${what} …`);
  await run(report, messages);
}
