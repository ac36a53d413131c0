/**
 * All instances that were reported, in memory, and the clock that ends their leases. It never waits: whoever keeps them (the control
 * plane's store) follows what changed, and watches (source.ts) are woken.
 */
import { keyText } from "../source.ts";
import { type Lease, leaseKey, type LeaseName, type LeasePlace, LEASES_MAX } from "./lease.ts";

/** How often the clock is looked at, at least. */
const TICK_MS_MAX = 1_000;
const TICK_MS_MIN = 20;
/** A tick that comes so much too late means that this program stood still, and heard no heartbeat meanwhile. */
const STANDSTILL_MS = 2_000;

interface Kept {
  readonly place: LeasePlace;
  lease: Lease;
  /** performance.now() */
  expiresMs: number;
}

/** What has to be kept for the next start, and for other replicas. */
export interface LeaseChanges {
  readonly put: readonly { readonly place: LeasePlace; readonly lease: Lease }[];
  /** Keys (leaseKey) of leases that are as they were and were renewed. */
  readonly renewed: readonly string[];
  /** Keys of leases that ended. */
  readonly gone: readonly string[];
}

type Change = "put" | "renewed" | "gone";

export class LeaseTable {
  readonly #leases = new Map<string, Kept>();
  /** By registry and service: the keys of its leases. */
  readonly #services = new Map<string, Map<string, Set<string>>>();
  readonly #watchers = new Map<string, Set<() => void>>();
  #changes = new Map<string, Change>();
  #urgent = false;
  #isTimed = true;
  #onChanges: () => void = () => {};
  #timer: NodeJS.Timeout | undefined;
  #tickDueMs = 0;

  /** Whether takeChanges() has something. */
  get isChanged(): boolean {
    return this.#changes.size > 0;
  }

  /** Whether it has more than renewals. */
  get isUrgent(): boolean {
    return this.#urgent;
  }

  /** Leaves the end of leases to whoever keeps them: a clock that several programs share. */
  stopClock(): void {
    this.#isTimed = false;
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  /** Calls `listener` when takeChanges() begins to have something. */
  onChanges(listener: () => void): void {
    this.#onChanges = listener;
  }

  /** Keeps instances from now on. @returns false, and keeps none, if there is no room */
  report(place: LeasePlace, leases: readonly Lease[]): boolean {
    const fresh = new Set(leases.map((lease) => leaseKey(place, lease)).filter((key) => !this.#leases.has(key)));
    if (this.#leases.size + fresh.size > LEASES_MAX) return false;
    for (const lease of leases) {
      this.#put(place, lease);
      this.#note(leaseKey(place, lease), "put");
    }
    return true;
  }

  /** Begins the instances' time to live anew. */
  renew(place: LeasePlace, names: readonly LeaseName[]) {
    const unknown: LeaseName[] = [];
    const known: Lease[] = [];
    const nowMs = performance.now();
    for (const name of names) {
      const key = leaseKey(place, name);
      const kept = this.#leases.get(key);
      if (kept === undefined) {
        unknown.push(name);
        continue;
      }
      kept.expiresMs = nowMs + kept.lease.ttlMs;
      known.push(kept.lease);
      if (this.#changes.get(key) !== "put") this.#note(key, "renewed");
    }
    return { unknown, known };
  }

  /** Ends leases at once. */
  leave(place: LeasePlace, names: readonly LeaseName[]): void {
    for (const name of names) this.#end(leaseKey(place, name));
  }

  /** A registry was deleted: with it all that was reported to it. */
  dropRegistry({ gatewayGroup, registry }: LeasePlace): void {
    for (const [key, { place }] of this.#leases) {
      if (place.gatewayGroup === gatewayGroup && place.registry === registry) this.#end(key);
    }
  }

  /** Takes a lease over from an earlier run, or another replica, with its whole time to live. */
  restore(place: LeasePlace, lease: Lease): void {
    if (this.#leases.size < LEASES_MAX) this.#put(place, lease);
  }

  /** Another replica ended the lease. */
  forget(key: string): void {
    this.#remove(key);
  }

  /** Whether it was reported or ended here, which takeChanges() has not told yet. A heartbeat is no news: what another replica says is. */
  isDirty(key: string): boolean {
    const change = this.#changes.get(key);
    return change === "put" || change === "gone";
  }

  /** What changed since the last call. */
  takeChanges(): LeaseChanges {
    const changes = [...this.#changes];
    this.#changes = new Map();
    this.#urgent = false;
    const put = changes.flatMap(([key, change]) => {
      const kept = change === "put" ? this.#leases.get(key) : undefined;
      return kept === undefined ? [] : [{ place: kept.place, lease: kept.lease }];
    });
    const keys = (wanted: Change) => changes.flatMap(([key, change]) => (change === wanted ? [key] : []));
    return { put, renewed: keys("renewed"), gone: keys("gone") };
  }

  /** Takes back what could not be written, unless it has changed again. */
  putBack({ put, renewed, gone }: LeaseChanges): void {
    for (const { place, lease } of put) {
      const key = leaseKey(place, lease);
      if (!this.#changes.has(key) || this.#changes.get(key) === "renewed") this.#note(key, "put");
    }
    for (const key of renewed) if (!this.#changes.has(key)) this.#note(key, "renewed");
    for (const key of gone) if (!this.#changes.has(key) && !this.#leases.has(key)) this.#note(key, "gone");
  }

  /** The instances of a service; none if nobody reported any. */
  instances(place: LeasePlace, service: LeaseName["service"]): Lease[] {
    const keys = this.#services.get(placeText(place))?.get(keyText(service)) ?? [];
    return [...keys].flatMap((key) => this.#leases.get(key)?.lease ?? []);
  }

  /** The services of a registry. */
  services(place: LeasePlace): LeaseName["service"][] {
    const services = this.#services.get(placeText(place))?.values() ?? [];
    return [...services].flatMap(([first = ""]) => this.#leases.get(first)?.lease.service ?? []);
  }

  /** Calls `wake` whenever an instance of the service comes, changes or goes. Returns how to stop. */
  watch(place: LeasePlace, service: LeaseName["service"], wake: () => void): () => void {
    const text = watchText(place, service);
    const watchers = this.#watchers.get(text) ?? new Set();
    this.#watchers.set(text, watchers.add(wake));
    return () => {
      watchers.delete(wake);
      if (watchers.size === 0) this.#watchers.delete(text);
    };
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #put(place: LeasePlace, lease: Lease): void {
    const key = leaseKey(place, lease);
    this.#leases.set(key, { place, lease, expiresMs: performance.now() + lease.ttlMs });
    const services = this.#services.get(placeText(place)) ?? new Map<string, Set<string>>();
    this.#services.set(placeText(place), services);
    const text = keyText(lease.service);
    services.set(text, (services.get(text) ?? new Set()).add(key));
    this.#wake(place, lease);
    this.#tickWithin(lease.ttlMs);
  }

  #end(key: string): void {
    if (this.#remove(key)) this.#note(key, "gone");
  }

  #remove(key: string): boolean {
    const kept = this.#leases.get(key);
    if (kept === undefined) return false;
    const { place, lease } = kept;
    this.#leases.delete(key);
    const services = this.#services.get(placeText(place));
    const keys = services?.get(keyText(lease.service));
    keys?.delete(key);
    if (keys?.size === 0) services?.delete(keyText(lease.service));
    if (services?.size === 0) this.#services.delete(placeText(place));
    this.#wake(place, lease);
    return true;
  }

  #wake(place: LeasePlace, { service }: LeaseName): void {
    for (const wake of this.#watchers.get(watchText(place, service)) ?? []) wake();
  }

  #note(key: string, change: Change): void {
    const isFirst = this.#changes.size === 0;
    this.#changes.set(key, change);
    if (change !== "renewed") this.#urgent = true;
    if (isFirst) this.#onChanges();
  }

  /** Looks at the clock within so long. */
  #tickWithin(ms: number): void {
    if (!this.#isTimed) return;
    const dueMs = performance.now() + Math.min(Math.max(ms, TICK_MS_MIN), TICK_MS_MAX);
    if (this.#timer !== undefined && this.#tickDueMs <= dueMs) return;
    clearTimeout(this.#timer);
    this.#tickDueMs = dueMs;
    this.#timer = setTimeout(() => this.#tick(), dueMs - performance.now());
    this.#timer.unref();
  }

  #tick(): void {
    this.#timer = undefined;
    const nowMs = performance.now();
    const lateMs = nowMs - this.#tickDueMs;
    // A program that stood still has heard nobody, and must not take that for their silence.
    if (lateMs > STANDSTILL_MS) for (const kept of this.#leases.values()) kept.expiresMs += lateMs;
    let nextMs = Number.POSITIVE_INFINITY;
    for (const [key, { expiresMs }] of this.#leases) {
      if (expiresMs <= nowMs) this.#end(key);
      else nextMs = Math.min(nextMs, expiresMs);
    }
    if (this.#leases.size > 0) this.#tickWithin(nextMs - nowMs);
  }
}

const placeText = ({ gatewayGroup, registry }: LeasePlace) => `${gatewayGroup}/${registry}`;

const watchText = (place: LeasePlace, service: LeaseName["service"]) => `${placeText(place)} ${keyText(service)}`;
