/** Counters, gauges and histograms, and their text for Prometheus (exposition format 0.0.4). */

/** Label values, in the order of a metric's label names. */
type LabelValues = readonly string[];

/** A metric as it appears in the text. */
interface Metric {
  readonly name: string;
  lines(): Iterable<string>;
}

interface MetricOptions {
  /** With its unit last and, for counters, `_total`: "sluice_admin_requests_total". */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly string[];
}

/** Label combinations that one metric may have; more are counted as one, so that no client can fill the memory. */
const SERIES_MAX = 10_000;

/** A number that only grows. */
export class Counter {
  readonly #series: Series<number>;

  constructor(series: Series<number>) {
    this.#series = series;
  }

  add(amount = 1, ...labels: LabelValues): void {
    this.#series.update(labels, (value) => value + amount);
  }

  /** Nothing is counted with these labels any more: what they stood for is gone. */
  forget(...labels: LabelValues): void {
    this.#series.forget(labels);
  }

  /** The series with these labels, which is there from now on. */
  cell(...labels: LabelValues): CounterCell {
    return new CounterCell(this.#series.entry(labels));
  }
}

/** One series of a counter, looked up once: for what is counted a thousand times in a row. */
export class CounterCell {
  readonly #entry: { value: number };

  constructor(entry: { value: number }) {
    this.#entry = entry;
  }

  add(amount = 1): void {
    this.#entry.value += amount;
  }
}

/** A number that goes up and down. */
export class Gauge {
  readonly #series: Series<number>;

  constructor(series: Series<number>) {
    this.#series = series;
  }

  set(value: number, ...labels: LabelValues): void {
    this.#series.update(labels, () => value);
  }

  add(amount: number, ...labels: LabelValues): void {
    this.#series.update(labels, (value) => value + amount);
  }
}

interface Distribution {
  /** How many values were at most the bound of the same position, and above the bound before. */
  readonly counts: number[];
  sum: number;
  count: number;
}

/** A distribution of values over fixed bounds. */
export class Histogram {
  readonly #series: Series<Distribution>;
  readonly #bounds: readonly number[];

  constructor(series: Series<Distribution>, bounds: readonly number[]) {
    this.#series = series;
    this.#bounds = bounds;
  }

  observe(value: number, ...labels: LabelValues): void {
    note(this.#series.entry(labels).value, this.#bounds, value);
  }

  /** The series with these labels, which is there from now on. */
  cell(...labels: LabelValues): HistogramCell {
    return new HistogramCell(this.#series.entry(labels).value, this.#bounds);
  }
}

/** One series of a histogram, as {@link CounterCell}. */
export class HistogramCell {
  readonly #distribution: Distribution;
  readonly #bounds: readonly number[];

  constructor(distribution: Distribution, bounds: readonly number[]) {
    this.#distribution = distribution;
    this.#bounds = bounds;
  }

  observe(value: number): void {
    note(this.#distribution, this.#bounds, value);
  }
}

function note(distribution: Distribution, bounds: readonly number[], value: number): void {
  const at = bounds.findIndex((bound) => value <= bound);
  if (at >= 0) distribution.counts[at] = (distribution.counts[at] ?? 0) + 1;
  distribution.sum += value;
  distribution.count += 1;
}

/** Most metrics that are counted often have one label. */
const keyOf = (labels: LabelValues): string => (labels.length === 1 ? (labels[0] ?? "") : labels.join("\0"));

/** All values of one metric, by their labels. */
class Series<Value> {
  readonly labels: readonly string[];
  readonly #initial: () => Value;
  readonly #values = new Map<string, { readonly labels: LabelValues; value: Value }>();

  constructor(labels: readonly string[], initial: () => Value) {
    this.labels = labels;
    this.#initial = initial;
  }

  update(labels: LabelValues, change: (value: Value) => Value): void {
    const entry = this.entry(labels);
    entry.value = change(entry.value);
  }

  entry(labels: LabelValues): { value: Value } {
    if (labels.length !== this.labels.length) throw new Error(`expected the labels ${this.labels.join(", ")}`);
    return this.#values.get(keyOf(labels)) ?? this.#enter(labels);
  }

  #enter(labels: LabelValues): { value: Value } {
    const kept = this.#values.size >= SERIES_MAX ? labels.map(() => "other") : labels;
    const key = keyOf(kept);
    const entry = this.#values.get(key) ?? { labels: kept, value: this.#initial() };
    this.#values.set(key, entry);
    return entry;
  }

  forget(labels: LabelValues): void {
    this.#values.delete(keyOf(labels));
  }

  entries(): Iterable<{ readonly labels: LabelValues; readonly value: Value }> {
    // A metric without labels is there from the start, so that its first increase can be seen.
    if (this.labels.length === 0 && this.#values.size === 0) return [{ labels: [], value: this.#initial() }];
    return this.#values.values();
  }
}

/** Seconds; from a read in memory to a write on a slow disk. */
const DURATION_BOUNDS_S = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;

/** The metrics of one control plane. Each part adds its own; /metrics shows them all. */
export class MetricsRegistry {
  readonly #metrics = new Map<string, Metric>();

  counter({ name, help, labels = [] }: MetricOptions): Counter {
    const series = new Series<number>(labels, () => 0);
    this.#add(name, help, "counter", () => numberLines(name, series));
    return new Counter(series);
  }

  gauge({ name, help, labels = [] }: MetricOptions): Gauge {
    const series = new Series<number>(labels, () => 0);
    this.#add(name, help, "gauge", () => numberLines(name, series));
    return new Gauge(series);
  }

  /** A number that is asked for when somebody looks. */
  observe({ name, help }: Omit<MetricOptions, "labels">, type: "counter" | "gauge", read: () => number): void {
    this.#add(name, help, type, () => [`${name} ${formatNumber(read())}`]);
  }

  /** Numbers that are asked for when somebody looks, each with the values of its labels. */
  observeEach(
    { name, help, labels = [] }: MetricOptions,
    read: () => Iterable<{ readonly labels: LabelValues; readonly value: number }>,
  ): void {
    this.#add(name, help, "gauge", () => {
      const lines: string[] = [];
      for (const { labels: values, value } of read()) {
        if (lines.length === SERIES_MAX) break;
        lines.push(`${name}${labelText(labels, values)} ${formatNumber(value)}`);
      }
      return lines;
    });
  }

  histogram({ name, help, labels = [] }: MetricOptions, bounds: readonly number[] = DURATION_BOUNDS_S): Histogram {
    const series = new Series<Distribution>(labels, () => ({ counts: bounds.map(() => 0), sum: 0, count: 0 }));
    this.#add(name, help, "histogram", () => histogramLines(name, series, bounds));
    return new Histogram(series, bounds);
  }

  /** Everything, as Prometheus reads it. */
  text(): string {
    const lines: string[] = [];
    for (const metric of this.#metrics.values()) lines.push(...metric.lines());
    return `${lines.join("\n")}\n`;
  }

  #add(name: string, help: string, type: string, values: () => Iterable<string>): void {
    if (this.#metrics.has(name)) throw new Error(`there are two metrics ${name}`);
    const head = [`# HELP ${name} ${help.replaceAll("\\", "\\\\").replaceAll("\n", "\\n")}`, `# TYPE ${name} ${type}`];
    this.#metrics.set(name, { name, lines: () => [...head, ...values()] });
  }
}

function* numberLines(name: string, series: Series<number>): Iterable<string> {
  for (const { labels, value } of series.entries()) {
    yield `${name}${labelText(series.labels, labels)} ${formatNumber(value)}`;
  }
}

function* histogramLines(name: string, series: Series<Distribution>, bounds: readonly number[]): Iterable<string> {
  for (const { labels, value } of series.entries()) {
    let below = 0;
    const names = [...series.labels, "le"];
    for (const [at, bound] of bounds.entries()) {
      below += value.counts[at] ?? 0;
      yield `${name}_bucket${labelText(names, [...labels, formatNumber(bound)])} ${below}`;
    }
    yield `${name}_bucket${labelText(names, [...labels, "+Inf"])} ${value.count}`;
    yield `${name}_sum${labelText(series.labels, labels)} ${formatNumber(value.sum)}`;
    yield `${name}_count${labelText(series.labels, labels)} ${value.count}`;
  }
}

function labelText(names: readonly string[], values: LabelValues): string {
  if (names.length === 0) return "";
  const pairs = names.map((name, at) => `${name}="${escapeLabel(values[at] ?? "")}"`);
  return `{${pairs.join(",")}}`;
}

const escapeLabel = (value: string) => value.replaceAll("\\", "\\\\").replaceAll('"', '\\"').replaceAll("\n", "\\n");

const formatNumber = (value: number) =>
  value === Number.POSITIVE_INFINITY ? "+Inf" : value === Number.NEGATIVE_INFINITY ? "-Inf" : String(value);
