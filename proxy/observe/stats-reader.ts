import {
  HISTOGRAM_SLOTS,
  histogramBoundsMs,
  type ScopeKind,
  scopeKey,
  scopeLayouts,
  type StatsBlock,
  type StatsMessage,
} from "./stats-layout.ts";

/** One statistic with its value, summed over workers. */
export type Sample = {
  /** Envoy's dotted name: cluster.NAME.upstream_rq_total. */
  readonly name: string;
  /** The same for Prometheus, with what varies in tags. */
  readonly metric: string;
  readonly tags: readonly (readonly [name: string, value: string])[];
} & (
  | { readonly kind: "counter" | "gauge"; readonly value: number }
  /** `counts` by bucket, not cumulative, one more than there are bounds. */
  | { readonly kind: "histogram"; readonly counts: readonly number[]; readonly sum: number }
);

/** One scope, all workers together. */
export interface ScopeTotals {
  readonly name: string;
  /** Of a counter or gauge of the scope's layout; 0 of any other. */
  value(stat: string): number;
}

/** The gauges of one scope in one worker, by name. */
export interface ScopeGauges {
  readonly worker: number;
  readonly name: string;
  readonly gauges: ReadonlyMap<string, number>;
}

interface WorkerMemory {
  readonly segments: Float64Array[];
  /** By the keys of their scopes. */
  readonly blocks: Map<string, StatsBlock[]>;
}

interface ScopeSums {
  readonly scope: ScopeKind;
  readonly name: string;
  readonly slots: Float64Array;
  /** What is outside of the layout. */
  readonly counters: Map<string, number>;
  readonly histograms: Map<string, Float64Array>;
}

/** The main thread's end of {@link StatsStore}: reads all workers' memory and sums it up. Reading disturbs no worker. */
export class StatsReader {
  readonly #workers = new Map<number, WorkerMemory>();
  /** What workers that are gone had counted: a counter never falls, as long as there is what it counts. */
  readonly #past = new Map<string, ScopeSums>();

  /** Takes note of what a worker tells. */
  take(worker: number, { segments, gone, blocks }: StatsMessage): void {
    let memory = this.#workers.get(worker);
    if (memory === undefined) {
      memory = { segments: [], blocks: new Map() };
      this.#workers.set(worker, memory);
    }
    for (const segment of segments) memory.segments.push(new Float64Array(segment));
    for (const key of gone) {
      memory.blocks.delete(key);
      this.#past.delete(key);
    }
    for (const block of blocks) {
      const key = scopeKey(block);
      const ofScope = memory.blocks.get(key);
      if (ofScope === undefined) memory.blocks.set(key, [block]);
      else ofScope.push(block);
    }
  }

  /** A worker ended: its counts stay, its gauges are over. Call it before the one that replaces it tells anything. */
  forget(worker: number): void {
    const memory = this.#workers.get(worker);
    if (memory === undefined) return;
    this.#workers.delete(worker);
    addUp(this.#past, memory);
    for (const { scope, slots } of this.#past.values()) {
      const { counters, gauges } = scopeLayouts[scope];
      slots.fill(0, counters.length, counters.length + gauges.length);
    }
  }

  /** The gauges of all scopes of a kind as they are now, each worker's by itself. */
  *gauges(kind: ScopeKind): Generator<ScopeGauges> {
    const { counters, gauges } = scopeLayouts[kind];
    for (const [worker, { segments, blocks }] of this.#workers) {
      for (const { scope, name, counter, histogram, segment, offset } of blocksIn(blocks)) {
        if (scope !== kind || counter !== undefined || histogram !== undefined) continue;
        const first = offset + counters.length;
        yield {
          worker,
          name,
          gauges: new Map(gauges.map((gauge, at) => [gauge, segments[segment]?.[first + at] ?? 0])),
        };
      }
    }
  }

  /** Counters and gauges of all scopes of a kind as they are now. */
  *totals(kind: ScopeKind): Generator<ScopeTotals> {
    const { counters, gauges } = scopeLayouts[kind];
    const slotOf = new Map([...counters, ...gauges].map((stat, slot) => [stat, slot]));
    for (const { scope, name, slots } of this.#sums().values()) {
      if (scope !== kind) continue;
      yield { name, value: (stat) => slots[slotOf.get(stat) ?? -1] ?? 0 };
    }
  }

  /** All statistics as they are now. */
  *samples(): Generator<Sample> {
    for (const scope of this.#sums().values()) yield* samplesOf(scope);
  }

  #sums(): Map<string, ScopeSums> {
    const sums = new Map<string, ScopeSums>();
    for (const [key, past] of this.#past) {
      const histograms = new Map(Array.from(past.histograms, ([name, slots]) => [name, slots.slice()]));
      sums.set(key, { ...past, slots: past.slots.slice(), counters: new Map(past.counters), histograms });
    }
    for (const memory of this.#workers.values()) addUp(sums, memory);
    return sums;
  }
}

function* blocksIn(blocks: WorkerMemory["blocks"]): Iterable<StatsBlock> {
  for (const ofScope of blocks.values()) yield* ofScope;
}

function addUp(sums: Map<string, ScopeSums>, { segments, blocks }: WorkerMemory): void {
  for (const block of blocksIn(blocks)) {
    const { scope, name, counter, histogram, segment, offset } = block;
    const key = scopeKey(block);
    let into = sums.get(key);
    if (into === undefined) {
      const slots = new Float64Array(scopeLayouts[scope].slots);
      into = { scope, name, slots, counters: new Map(), histograms: new Map() };
      sums.set(key, into);
    }
    const memory = segments[segment];
    if (memory === undefined) continue;
    if (counter !== undefined) {
      into.counters.set(counter, (into.counters.get(counter) ?? 0) + (memory[offset] ?? 0));
      continue;
    }
    let slots = into.slots;
    if (histogram !== undefined) {
      slots = into.histograms.get(histogram) ?? new Float64Array(HISTOGRAM_SLOTS);
      into.histograms.set(histogram, slots);
    }
    for (let slot = 0; slot < slots.length; slot++) {
      slots[slot] = (slots[slot] ?? 0) + (memory[offset + slot] ?? 0);
    }
  }
}

function* samplesOf(sums: ScopeSums): Generator<Sample> {
  const { scope, name, slots, counters, histograms } = sums;
  const layout = scopeLayouts[scope];
  let slot = 0;
  for (const counter of layout.counters) yield* counted(sums, counter, slots[slot++] ?? 0);
  for (const gauge of layout.gauges) {
    const value = slots[slot++] ?? 0;
    if (!gauge.startsWith("high.")) yield { kind: "gauge", ...names(scope, name, gauge), value };
  }
  for (const histogram of layout.histograms) {
    const own = slots.subarray(slot, slot + HISTOGRAM_SLOTS);
    slot += HISTOGRAM_SLOTS;
    yield distribution(sums, histogram, own);
    if (histogram !== "upstream_rq_time") continue;
    const internal = histograms.get(`internal.${histogram}`);
    const external = own.map((value, at) => value - (internal?.[at] ?? 0));
    if (external.some((value) => value > 0)) yield distribution(sums, `external.${histogram}`, external);
  }
  for (const [counter, value] of counters) yield* counted(sums, counter, value);
  for (const [histogram, own] of histograms) yield distribution(sums, histogram, own);
}

/** What Envoy counts once more for external requests: all that are not internal, so that nobody has to count them. */
const BY_ORIGIN = /^upstream_rq_(completed|[1-5]xx|[1-5][0-9]{2})$/;

function* counted({ scope, name, counters }: ScopeSums, counter: string, value: number): Generator<Sample> {
  yield { kind: "counter", ...names(scope, name, counter), value };
  if (scope !== "cluster" || !BY_ORIGIN.test(counter)) return;
  const external = value - (counters.get(`internal.${counter}`) ?? 0);
  if (external > 0) yield { kind: "counter", ...names(scope, name, `external.${counter}`), value: external };
}

function distribution({ scope, name }: ScopeSums, histogram: string, slots: Float64Array): Sample {
  const counts = [...slots.subarray(0, histogramBoundsMs.length + 1)];
  return { kind: "histogram", ...names(scope, name, histogram), counts, sum: slots[HISTOGRAM_SLOTS - 1] ?? 0 };
}

/** Envoy's dotted name (":" would end it), and the metric with the tags that Envoy extracts from it. */
function names(scope: ScopeKind, name: string, stat: string): Pick<Sample, "name" | "metric" | "tags"> {
  if (scope === "http1" || scope === "http2") {
    if (name === "") return { name: `${scope}.${stat}`, metric: `envoy_${scope}_${stat}`, tags: [] };
    return names("cluster", name, `${scope}.${stat}`);
  }
  const tag = [scopeLayouts[scope].tag, name.replaceAll(":", "_")] as const;
  const dotted = `${scope}.${tag[1]}.${stat}`;
  if (tag[0] === "") return { name: dotted, metric: `envoy_${dotted.replaceAll(".", "_")}`, tags: [] };
  const base = `envoy_${scope}_${stat.replaceAll(".", "_")}`;
  const group = /_([1-5])xx$/.exec(stat)?.[1];
  if (group !== undefined) {
    const tags = [["envoy_response_code_class", group], tag] as const;
    return { name: dotted, metric: `${base.slice(0, -3)}xx`, tags };
  }
  const code = /_([1-9][0-9]{2})$/.exec(stat)?.[1];
  if (code !== undefined)
    return { name: dotted, metric: base.slice(0, -4), tags: [["envoy_response_code", code], tag] };
  return { name: dotted, metric: base, tags: [tag] };
}
