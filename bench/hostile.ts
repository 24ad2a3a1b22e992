/** The worst anchors that the format allows (SPEC 11), and a thousand forks. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { MAX_MESSAGES } from "../protocol/manifest.ts";
import { runApart } from "./apart.ts";
import type { AuditResult, Case, ForksResult, IndexResult, RestartResult } from "./hostile-run.ts";
import type { Report } from "./report.ts";

const RUN = fileURLToPath(new URL("hostile-run.ts", import.meta.url));
const FORKED_ROOMS = 20_000;
const FORKS = 1_000;
const CASES: Readonly<Record<Case, string>> = {
  absent: "messages that nobody has, ids sharing bits",
  present: "messages that are all there",
};

/** @param size messages of the worst anchor; fewer than the format allows is a check that it runs, not a measurement */
export async function benchHostile(report: Report, size = MAX_MESSAGES): Promise<void> {
  for (const [kind, what] of Object.entries(CASES)) {
    await inFolder(async (folder) => {
      const anchor = `an anchor of ${size.toLocaleString("en")} new rooms, ${what}`;
      report.note(`writing ${anchor} …`);
      await runApart(RUN, "write", folder, kind, String(size));
      report.note("indexing it …");
      const index = await runApart<IndexResult>(RUN, "index", folder, kind);
      const turn = `  longest turn of the event loop (longest pause of the collector: ${index.collectorMs.toFixed(0)} ms)`;
      report.duration({ name: `index ${anchor}`, ms: index.ms, goalMs: 60_000 });
      report.duration({ name: "  longest answer of /health meanwhile", ms: index.healthMs, goalMs: 200 });
      report.duration({ name: turn, ms: index.turnMs, goalMs: 50 + Math.ceil(index.collectorMs) });
      report.limit({ name: "  peak memory", value: Math.round(index.rssMiB), limit: 512, unit: "MiB" });
      report.limit({ name: "  size of the index", value: Math.round(index.diskMiB), limit: 768, unit: "MiB" });
      report.note("starting it again …");
      const restart = await runApart<RestartResult>(RUN, "restart", folder, kind);
      report.duration({ name: "  restart to ready after it", ms: restart.readyMs, goalMs: 1_000 });
      report.note("auditing it …");
      const audit = await runApart<AuditResult>(RUN, "audit", folder, kind);
      report.duration({ name: "  audit of it", ms: audit.ms, goalMs: 60_000 });
      report.limit({ name: "  peak memory of the audit", value: Math.round(audit.rssMiB), limit: 512, unit: "MiB" });
    });
  }
  await inFolder(async (folder) => {
    const rooms = Math.min(FORKED_ROOMS, size);
    report.note(`anchoring forks to and fro beside ${rooms.toLocaleString("en")} rooms …`);
    const { ms } = await runApart<ForksResult>(RUN, "forks", folder, String(rooms), String(FORKS));
    const name = `each of ${FORKS.toLocaleString("en")} forks to and fro beside ${rooms.toLocaleString("en")} rooms`;
    report.duration({ name, ms, goalMs: 20 });
  });
}

async function inFolder(work: (folder: string) => Promise<void>): Promise<void> {
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  try {
    await work(folder);
  } finally {
    await rm(folder, { recursive: true });
  }
}
