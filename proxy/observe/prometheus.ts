import { histogramBoundsMs } from "./stats-layout.ts";
import type { Sample } from "./stats-reader.ts";

/** Statistics in Prometheus' text format 0.0.4, by Envoy's metric names; the lines of one metric stand together, as it must be. */
export function prometheusText(samples: Iterable<Sample>): string {
  const byMetric = new Map<string, { readonly kind: Sample["kind"]; readonly lines: string[] }>();
  for (const sample of samples) {
    let metric = byMetric.get(sample.metric);
    if (metric === undefined) {
      metric = { kind: sample.kind, lines: [] };
      byMetric.set(sample.metric, metric);
    }
    // A metric has one type; a second of the name would make the whole answer unreadable.
    if (metric.kind === sample.kind) metric.lines.push(...linesOf(sample));
  }
  let text = "";
  for (const [name, { kind, lines }] of byMetric) text += `# TYPE ${name} ${kind}\n${lines.join("\n")}\n`;
  return text;
}

function linesOf(sample: Sample): string[] {
  const tags = sample.tags.map(([name, value]) => `${name}="${escape(value)}"`).join(",");
  const labels = tags === "" ? "" : `{${tags}}`;
  if (sample.kind !== "histogram") return [`${sample.metric}${labels} ${sample.value}`];
  const lines: string[] = [];
  const prefix = tags === "" ? "" : `${tags},`;
  let count = 0;
  sample.counts.forEach((inBucket, at) => {
    count += inBucket;
    const bound = histogramBoundsMs[at] ?? "+Inf";
    lines.push(`${sample.metric}_bucket{${prefix}le="${bound}"} ${count}`);
  });
  lines.push(`${sample.metric}_sum${labels} ${sample.sum}`, `${sample.metric}_count${labels} ${count}`);
  return lines;
}

const escape = (value: string) => value.replace(/[\\"\n]/g, (char) => (char === "\n" ? "\\n" : `\\${char}`));

/** Quantiles that Envoy's /stats shows of a histogram. */
const QUANTILES = [0, 25, 50, 75, 90, 95, 99, 99.5, 99.9, 100] as const;

/**
 * Statistics as Envoy's /stats has them: dotted name and value; of histograms the quantiles since the start, interpolated within their
 * buckets, in text.
 */
export function* statsValues(samples: Iterable<Sample>): Generator<readonly [name: string, value: number | string]> {
  for (const sample of samples) {
    yield [sample.name, sample.kind === "histogram" ? quantiles(sample.counts) : sample.value];
  }
}

function quantiles(counts: readonly number[]): string {
  const total = counts.reduce((a, b) => a + b, 0);
  if (total === 0) return "No recorded values";
  return QUANTILES.map((percent) => `P${percent}(nan,${round(quantile(counts, (total * percent) / 100))})`).join(" ");
}

function quantile(counts: readonly number[], rank: number): number {
  let below = 0;
  for (let at = 0; at < counts.length; at++) {
    const inBucket = counts[at] ?? 0;
    if (inBucket > 0 && below + inBucket >= rank) {
      const from = at === 0 ? 0 : (histogramBoundsMs[at - 1] ?? 0);
      const to = histogramBoundsMs[at] ?? from;
      return from + ((to - from) * Math.max(0, rank - below)) / inBucket;
    }
    below += inBucket;
  }
  return 0;
}

const round = (value: number) => Number(value.toPrecision(3));
