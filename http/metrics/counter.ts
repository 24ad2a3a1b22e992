/** Counts and distributions that grow from the start of the process, apart for each set of labels. */
import type { Family, Labels, Sample } from "./exposition.ts";

interface Definition {
  readonly name: string;
  readonly help: string;
}

export class Counter {
  private readonly definition: Definition;
  private readonly counts = new Map<string, { readonly labels: Labels; value: number }>();

  constructor(definition: Definition) {
    this.definition = definition;
  }

  add(labels: Labels, value = 1): void {
    const key = JSON.stringify(labels);
    const count = this.counts.get(key);
    if (count === undefined) this.counts.set(key, { labels, value });
    else count.value += value;
  }

  get family(): Family {
    return { ...this.definition, type: "counter", samples: [...this.counts.values()] };
  }
}

interface Series {
  readonly labels: Labels;
  /** How many fell into each bucket, the last of which has no upper bound; not cumulative. */
  readonly buckets: number[];
  sum: number;
}

export class Histogram {
  private readonly definition: Definition;
  private readonly bounds: readonly number[];
  private readonly series = new Map<string, Series>();

  /** @param bounds ascending; each is the largest value that its bucket takes */
  constructor(definition: Definition, bounds: readonly number[]) {
    this.definition = definition;
    this.bounds = bounds;
  }

  /** Begins a series at nothing. */
  declare(labels: Labels = {}): Series {
    const series = { labels, buckets: Array<number>(this.bounds.length + 1).fill(0), sum: 0 };
    this.series.set(JSON.stringify(labels), series);
    return series;
  }

  observe(value: number, labels: Labels = {}): void {
    const series = this.series.get(JSON.stringify(labels)) ?? this.declare(labels);
    const found = this.bounds.findIndex((bound) => value <= bound);
    const at = found === -1 ? this.bounds.length : found;
    series.buckets[at] = (series.buckets[at] ?? 0) + 1;
    series.sum += value;
  }

  get family(): Family {
    return {
      ...this.definition,
      type: "histogram",
      samples: [...this.series.values()].flatMap((each) => this.samplesOf(each)),
    };
  }

  private samplesOf({ labels, buckets, sum }: Series): Sample[] {
    let count = 0;
    const samples = buckets.map((inBucket, i): Sample => {
      count += inBucket;
      const bound = this.bounds[i];
      return {
        suffix: "_bucket",
        labels: { ...labels, le: bound === undefined ? "+Inf" : String(bound) },
        value: count,
      };
    });
    return [...samples, { suffix: "_sum", labels, value: sum }, { suffix: "_count", labels, value: count }];
  }
}
