/**
 * Prometheus' text format (https://prometheus.io/docs/instrumenting/exposition_formats/, version 0.0.4).
 *
 * Not prom-client's: nearly all values, the reorgs of earlier processes among them, are read from the service's database when Prometheus asks, and its
 * counters and histograms can't be set to what was counted elsewhere. It would bring four packages for the 130 lines here and in counter.ts.
 */

export type Labels = Readonly<Record<string, string>>;

export interface Sample {
  /** What follows the family's name: of a histogram, `_bucket`, `_sum` or `_count`. */
  readonly suffix?: string;
  readonly labels?: Labels;
  readonly value: number;
}

/** All samples of one name. */
export interface Family {
  readonly name: string;
  readonly help: string;
  readonly type: "counter" | "gauge" | "histogram";
  readonly samples: readonly Sample[];
}

export const CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8";

export function exposition(families: readonly Family[]): string {
  return families.map(familyText).join("");
}

/** One value, or none while it is not known. */
export function gauge(name: string, help: string, value: number | null): Family {
  return { name, help, type: "gauge", samples: value === null ? [] : [{ value }] };
}

function familyText({ name, help, type, samples }: Family): string {
  const escaped = help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n");
  const lines = samples.map(
    ({ suffix = "", labels = {}, value }) => `${name}${suffix}${labelsText(labels)} ${numberText(value)}\n`,
  );
  return `# HELP ${name} ${escaped}\n# TYPE ${name} ${type}\n${lines.join("")}`;
}

function labelsText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => {
    const escaped = value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");
    return `${name}="${escaped}"`;
  });
  return pairs.length === 0 ? "" : `{${pairs.join(",")}}`;
}

function numberText(value: number): string {
  if (value === Infinity) return "+Inf";
  return value === -Infinity ? "-Inf" : String(value);
}
