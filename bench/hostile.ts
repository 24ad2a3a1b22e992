/** The worst anchors that the format allows (SPEC 11), and a thousand forks. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";

import { MAX_MESSAGES } from "../protocol/manifest.ts";
import { runApart } from "./apart.ts";
import type { AuditResult, Case, ForksResult, IndexResult, RestartResult } from "./hostile-run.ts";
import type { Duration, Limit } from "./measure.ts";

export interface HostileMeasures {
  readonly durations: readonly Duration[];
  readonly limits: readonly Limit[];
}

const RUN = fileURLToPath(new URL("hostile-run.ts", import.meta.url));
const FORKED_ROOMS = 20_000;
const FORKS = 1_000;
const CASES: Readonly<Record<Case, string>> = {
  absent: "messages that nobody has, ids sharing bits",
  present: "messages that are all there",
};

/** @param size messages of the worst anchor; fewer than the format allows is a check that it runs, not a measurement */
export async function benchHostile(note: (text: string) => void, size = MAX_MESSAGES): Promise<HostileMeasures> {
  const durations: Duration[] = [];
  const limits: Limit[] = [];
  for (const [kind, what] of Object.entries(CASES)) {
    const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
    try {
      note(`writing an anchor of ${size.toLocaleString("en")} ${what} …`);
      await runApart(RUN, "write", folder, kind, String(size));
      const index = await runApart<IndexResult>(RUN, "index", folder, kind);
      const restart = await runApart<RestartResult>(RUN, "restart", folder, kind);
      const audit = await runApart<AuditResult>(RUN, "audit", folder, kind);
      durations.push(
        { name: `index an anchor of ${size.toLocaleString("en")} new rooms, ${what}`, ms: index.ms, goalMs: 60_000 },
        { name: "  longest answer of /health meanwhile", ms: index.healthMs, goalMs: 200 },
        { name: "  restart to ready after it", ms: restart.readyMs, goalMs: 1_000 },
        { name: "  audit of it", ms: audit.ms, goalMs: 60_000 },
      );
      limits.push(
        { name: `  peak memory of the index, ${what}`, value: Math.round(index.rssMiB), limit: 512, unit: "MiB" },
        { name: `  size of the index, ${what}`, value: Math.round(index.diskMiB), limit: 768, unit: "MiB" },
        { name: `  peak memory of the audit, ${what}`, value: Math.round(audit.rssMiB), limit: 512, unit: "MiB" },
      );
    } finally {
      await rm(folder, { recursive: true });
    }
  }
  const folder = await mkdtemp(join(tmpdir(), "dmtp-bench-"));
  try {
    const rooms = Math.min(FORKED_ROOMS, size);
    const { ms } = await runApart<ForksResult>(RUN, "forks", folder, String(rooms), String(FORKS));
    durations.push({
      name: `each of ${FORKS.toLocaleString("en")} forks to and fro beside ${rooms.toLocaleString("en")} rooms`,
      ms,
      goalMs: 20,
    });
  } finally {
    await rm(folder, { recursive: true });
  }
  return { durations, limits };
}
