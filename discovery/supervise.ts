/**
 * Keeps a registry's watches running: this, and the watched services it holds, is the only place that retries, waits, and remembers what
 * was good. It also asks the registry for a sign of life every few seconds, since a registry that hangs breaks no connection.
 */
import type { ServiceKey } from "#sluice/discovery/v1/snapshot_pb.ts";

import { sleep } from "./backoff.ts";
import type { Canonical } from "./canonical.ts";
import { DiscoveryError, type DiscoveryErrorKind, type Failure, keyText, type Remark, type Source } from "./source.ts";
import { WatchedService, type WatchEvents, type WatchView } from "./watched-service.ts";

/** With the timeout: an outage shows within 6 s. */
const PROBE_INTERVAL_MS = 2_500;
const PROBE_TIMEOUT_MS = 3_000;

/** Changes of health that are remembered. */
const HISTORY_MAX = 50;

/** Of the watches that are begun anew after an outage, so many are at a time, and 1,000 in a second. */
const RESTARTS_PER_STEP = 10;
const RESTART_STEP_MS = 10;

/** A registry began or ceased to answer. */
export interface HealthChange {
  readonly timeMs: number;
  /** Undefined: it answers. */
  readonly failure: { readonly kind: DiscoveryErrorKind | "bug"; readonly message: string } | undefined;
}

/** What a service's endpoints are worth now. */
export type WatchState =
  /** Nothing was heard yet. */
  | "waiting"
  /** What is served is what the registry says. */
  | "fresh"
  /** The registry doesn't answer now; what it said last is served. */
  | "stale"
  /** The registry never answered for this service. */
  | "failing"
  /** The credentials don't allow it; what was known is served. */
  | "permission_denied"
  /** The registry has no service by this name. */
  | "unknown_service"
  /** The registry says that there are no instances, which is doubted for a while; the last good ones are served. */
  | "held";

/** A watched service and its state. */
export interface ServiceReport extends WatchView {
  readonly state: WatchState;
  /** What is wrong, in the registry's words: the watch's own failure, else that of the whole registry. */
  readonly problem: Failure | undefined;
}

/** What the owner of a supervisor hears. */
export interface SuperviseEvents {
  /** There is something else to serve for this service. */
  changed(key: ServiceKey, served: Canonical): void;
  /** The registry's health, for the log. Called once per change. */
  health?(change: HealthChange): void;
  /** A watch failed for a reason that is not one of the registry's: a bug. */
  bug?(key: ServiceKey, message: string): void;
}

export interface SuperviseOptions {
  readonly source: Source;
  /** How long a sudden emptiness is doubted; 0: not at all. */
  readonly holdEmptyMs: number;
  readonly events: SuperviseEvents;
}

/** A registry under supervision. */
export class RegistrySupervisor {
  readonly #options: SuperviseOptions;
  readonly #events: WatchEvents = {
    changed: (key, served) => this.#options.events.changed(key, served),
    settled: (key) => this.#settle(keyText(key)),
    touched: ({ key, failure }) => {
      if (failure?.kind === "bug" && failure.times === 1) this.#options.events.bug?.(key, failure.message);
    },
  };
  readonly #services = new Map<string, WatchedService>();
  readonly #unsettled = new Map<string, () => void>();
  readonly #closed = new AbortController();
  readonly #probing: Promise<void>;
  /** Ends the pause before the next probe. */
  #pause = new AbortController();
  readonly #history: HealthChange[] = [];
  #outage: Failure | undefined;
  #identity = { clusterIdentity: "", version: "" };
  #lastAnswerMs: number | undefined;

  constructor(options: SuperviseOptions) {
    this.#options = options;
    options.source.onMended?.(() => this.#askAgain());
    this.#probing = this.#probe();
  }

  /** How many services are watched. */
  get size(): number {
    return this.#services.size;
  }

  /** Program and version, as far as known. */
  get version(): string {
    return this.#identity.version;
  }

  get clusterIdentity(): string {
    return this.#identity.clusterIdentity;
  }

  /** Why the registry as a whole doesn't answer; undefined while it does. */
  get outage(): Failure | undefined {
    return this.#outage;
  }

  /** When it last answered a probe. */
  get lastAnswerMs(): number | undefined {
    return this.#lastAnswerMs;
  }

  /** Its latest changes of health, the oldest first. */
  get history(): readonly HealthChange[] {
    return this.#history;
  }

  /**
   * Watches a service from now on; one that is watched already stays as it is.
   * @param restored the last good answer of an earlier run
   * @returns fulfilled with the registry's first answer, or first failure, in this run
   */
  add(key: ServiceKey, restored?: Canonical): Promise<void> {
    const text = keyText(key);
    if (this.#services.has(text)) return Promise.resolve();
    const settled = Promise.withResolvers<void>();
    this.#unsettled.set(text, settled.resolve);
    const { source, holdEmptyMs } = this.#options;
    this.#services.set(text, new WatchedService({ source, key, holdEmptyMs, restored, events: this.#events }));
    return settled.promise;
  }

  /** Stops watching a service. */
  async remove(key: ServiceKey): Promise<void> {
    const text = keyText(key);
    const service = this.#services.get(text);
    this.#services.delete(text);
    this.#settle(text);
    await service?.close();
  }

  /** All watched services, in no order. */
  *reports(): Iterable<ServiceReport> {
    for (const service of this.#services.values()) yield this.#report(service);
  }

  /** One watched service. */
  report(key: ServiceKey): ServiceReport | undefined {
    const service = this.#services.get(keyText(key));
    return service && this.#report(service);
  }

  /** The services that the registry has. @throws DiscoveryError */
  async list(signal: AbortSignal) {
    return await this.#options.source.list(AbortSignal.any([signal, this.#closed.signal]));
  }

  /** Ends all watches and gives up the source. */
  async close(): Promise<void> {
    this.#closed.abort();
    this.#pause.abort();
    await Promise.all([...this.#services.values()].map((service) => service.close()));
    for (const text of [...this.#unsettled.keys()]) this.#settle(text);
    await this.#probing;
    await this.#options.source.close();
  }

  #report(service: WatchedService): ServiceReport {
    return reportOf(service, this.#outage, this.#options.source.remark?.(service.key));
  }

  #settle(text: string): void {
    this.#unsettled.get(text)?.();
    this.#unsettled.delete(text);
  }

  async #probe(): Promise<void> {
    const { signal } = this.#closed;
    while (!signal.aborted) {
      this.#pause = new AbortController();
      await this.#probeOnce();
      if (signal.aborted) return;
      // Not all replicas and registries in step.
      await sleep(PROBE_INTERVAL_MS * (0.8 + 0.2 * Math.random()), this.#pause.signal);
    }
  }

  async #probeOnce(): Promise<void> {
    const timeout = new AbortController();
    const timer = setTimeout(() => timeout.abort(), PROBE_TIMEOUT_MS);
    const abort = AbortSignal.any([timeout.signal, this.#closed.signal]);
    const stopped = Promise.withResolvers<never>();
    const stop = () =>
      stopped.reject(new DiscoveryError("unreachable", `no answer within ${PROBE_TIMEOUT_MS / 1000} s`));
    abort.addEventListener("abort", stop);
    try {
      // The source may be slow to notice that it was told to stop.
      this.#identity = await Promise.race([this.#options.source.probe(abort), stopped.promise]);
      this.#answered();
    } catch (error) {
      if (!this.#closed.signal.aborted) this.#failed(error);
    } finally {
      clearTimeout(timer);
      // Node keeps a signal that is made of others for as long as somebody listens to it: for ever, where none of them is aborted.
      abort.removeEventListener("abort", stop);
    }
  }

  #answered(): void {
    this.#lastAnswerMs = Date.now();
    const outage = this.#outage;
    const known = this.#history.length > 0;
    this.#outage = undefined;
    if (outage === undefined && known) return;
    this.#remember({ timeMs: Date.now(), failure: undefined });
    // A connection may have died with the registry's host and nobody told: what was silent since the outage began is begun anew.
    if (outage !== undefined) void this.#restart(({ lastEventMs }) => (lastEventMs ?? 0) < outage.sinceMs);
  }

  #failed(error: unknown): void {
    const kind = error instanceof DiscoveryError ? error.kind : "bug";
    const message = error instanceof Error ? error.message : String(error);
    const before = this.#outage;
    const nowMs = Date.now();
    this.#outage = { kind, message, sinceMs: before?.sinceMs ?? nowMs, times: (before?.times ?? 0) + 1 };
    if (before?.kind !== kind) this.#remember({ timeMs: nowMs, failure: { kind, message } });
  }

  #remember(change: HealthChange): void {
    this.#history.push(change);
    if (this.#history.length > HISTORY_MAX) this.#history.shift();
    this.#options.events.health?.(change);
  }

  /** Nobody waits for the next retry of what has failed. */
  #askAgain(): void {
    this.#pause.abort();
    void this.#restart(({ failure }) => failure !== undefined);
  }

  /** Begins watches anew, a few at a time, as long as there is need. */
  async #restart(needed: (service: WatchedService) => boolean): Promise<void> {
    const chosen = [...this.#services.values()].filter(needed);
    // One wait for all of them: what hangs on a signal is looked through for each that comes and goes.
    for (let at = 0; at < chosen.length && !this.#closed.signal.aborted; at += RESTARTS_PER_STEP) {
      for (const service of chosen.slice(at, at + RESTARTS_PER_STEP)) if (needed(service)) service.restart();
      await sleep(RESTART_STEP_MS, this.#closed.signal);
    }
  }
}

const denials: ReadonlySet<string> = new Set<DiscoveryErrorKind>(["permission_denied", "unauthenticated"]);

function reportOf(service: WatchedService, outage: Failure | undefined, remark: Remark | undefined): ServiceReport {
  const { key, served, restored, lastEventMs, lastChangeMs, counts } = service;
  const failure = service.failure ?? remark?.failure ?? hiddenOf(service);
  const held = service.held ?? remark?.held;
  const problem = failure ?? outage;
  const view = { key, served, restored, held, failure, lastEventMs, lastChangeMs, counts };
  return { ...view, problem, state: stateOf(view, problem) };
}

/** What is served is served, and yet the credentials are short of something. */
function hiddenOf({ served, lastEventMs }: WatchedService): Failure | undefined {
  if (served === undefined || served.hidden === "") return undefined;
  return { kind: "permission_denied", message: served.hidden, sinceMs: lastEventMs ?? Date.now(), times: 1 };
}

function stateOf({ served, restored, held }: WatchView, problem: Failure | undefined): WatchState {
  if (problem !== undefined && denials.has(problem.kind)) return "permission_denied";
  if (problem?.kind === "unknown_service") return "unknown_service";
  if (problem !== undefined) return served === undefined ? "failing" : "stale";
  if (served === undefined) return "waiting";
  if (held !== undefined) return "held";
  if (restored) return "stale";
  return served.unknownService ? "unknown_service" : "fresh";
}
