import { resourceTypeByUrl, routeConfigurationOf } from "#proto/resource-types.ts";

import { NO_ENDPOINTS } from "./cluster/assignment.ts";
import type { Cluster } from "./cluster/cluster.ts";
import { LiveClusters } from "./cluster/live-clusters.ts";
import type { DataPathStats, Runtime } from "./listen/context.ts";
import type { ListenerOptions } from "./listen/options.ts";
import type { ExportContext } from "./observe/export/collector.ts";
import type { ControlPlaneAccess } from "./observe/export/control-plane.ts";
import { Exporters } from "./observe/export/exporters.ts";
import { LogSinks } from "./observe/file-sink.ts";
import { Outlets } from "./observe/outlets.ts";
import { type Part, partOf } from "./parts.ts";
import type { RouteSettings } from "./route/compile.ts";
import { DeferredHosts } from "./route/deferred-hosts.ts";
import { LiveRouteTable } from "./route/live-table.ts";
import type { RouteTable } from "./route/route.ts";
import type { Secret } from "./tls/secret.ts";

/** A resource put in place or, when `bytes` is null, taken away. */
export interface RuntimeUpdate {
  readonly typeUrl: string;
  readonly name: string;
  readonly bytes: Uint8Array | null;
}

/** An update that is ready to be put in place, and the outlets that it asked for. */
interface MadePart {
  readonly update: RuntimeUpdate;
  /** Undefined: the resource goes. */
  readonly part: Part | undefined;
  readonly outlets: ReadonlySet<string>;
}

/** Called for each listener that is new, changed, or (without options) gone, after everything else is in place. */
export type ListenerChanged = (name: string, options: ListenerOptions | undefined) => void;

/** How long an update may wait for names to be resolved. */
const WARMING_MS_MAX = 5_000;

/**
 * The compiled configuration of one worker. Each part is immutable or, as clusters, an object that outlives its updates; an update
 * compiles what is in it and nothing else, and is then swapped in at once, between two requests.
 */
export class WorkerRuntime implements Runtime {
  readonly stats: DataPathStats;
  /** The access logs' files, to reopen after a rotation and to close at the end. */
  readonly sinks: LogSinks;
  /** What collectors that are the control plane are reached by. */
  controlPlane: ControlPlaneAccess | undefined;
  readonly #changed: ListenerChanged;
  readonly #clusters = new LiveClusters((statName) => this.stats.forgetCluster(statName));
  readonly #hosts = new DeferredHosts();
  readonly #routeTables = new Map<string, RouteTable>();
  readonly #secrets = new Map<string, Secret>();
  /** Of the newest route configurations with `vhds`, in place or about to be. */
  readonly #settings = new Map<string, RouteSettings>();
  /** Those that are gone, for as long as connections of a listener that went with them may need them. */
  readonly #retiredTables = new Map<string, { readonly table: RouteTable; readonly timer: NodeJS.Timeout }>();
  readonly #retiredMs: number;
  readonly #listeners = new Set<string>();
  /** The last update that is not in place yet; updates are never carried out in another order than they came. */
  #applying: Promise<void> | undefined;

  /**
   * `drainTimeMs`: how long connections of listeners that are gone may go on. `node`: how access log and trace collectors are told who we
   * are.
   */
  constructor(
    stats: DataPathStats,
    changed: ListenerChanged,
    drainTimeMs = 0,
    node: ExportContext["node"] = { id: "", cluster: "" },
  ) {
    const controlPlane = () => this.controlPlane;
    this.sinks = new LogSinks(
      new Exporters(
        {
          node,
          stats,
          controlPlane,
          cluster: (name) => this.#clusters.get(name),
          secret: (name) => this.#secrets.get(name),
        },
        new Outlets(drainTimeMs),
      ),
    );
    this.stats = stats;
    this.#retiredMs = drainTimeMs;
    this.#changed = changed;
  }

  routeTable(name: string): RouteTable | undefined {
    return this.#routeTables.get(name) ?? this.#retiredTables.get(name)?.table;
  }

  cluster(name: string): Cluster | undefined {
    return this.#clusters.get(name);
  }

  secret(name: string): Secret | undefined {
    return this.#secrets.get(name);
  }

  /** All clusters, for /clusters. */
  clusters(): Iterable<Cluster> {
    return this.#clusters.all();
  }

  /**
   * Carries updates out, in order, and resolves when they are in place: at once, except that new clusters have their names resolved
   * first, so that the first request that comes to one finds endpoints (Envoy's cluster warming). Rejects, and changes nothing, if one of them
   * cannot be used: the main thread has tried them all, so that this is a bug. What is deferred (parts.ts) throws when it is first needed.
   */
  async apply(updates: readonly RuntimeUpdate[]): Promise<void> {
    const parts = updates.map((update) => {
      const { made, keys } = this.#outlets.noting(() => this.#compile(update));
      return { update, part: made, outlets: keys };
    });
    const warming = parts.flatMap(({ update, part }) =>
      part?.kind === "CDS" ? (this.#clusters.warm(update.name, part.value) ?? []) : [],
    );
    const earlier = this.#applying;
    if (earlier === undefined && warming.length === 0) {
      this.#swap(parts);
      return;
    }
    const applied = (async () => {
      await earlier?.catch(() => {}); // Its own caller is told.
      if (warming.length > 0) await atMost(WARMING_MS_MAX, Promise.all(warming));
      this.#swap(parts);
    })();
    this.#applying = applied;
    await applied.finally(() => {
      if (this.#applying === applied) this.#applying = undefined;
    });
  }

  #swap(parts: readonly MadePart[]): void {
    const listeners = new Map<string, ListenerOptions | undefined>();
    for (const { update, part, outlets } of parts) {
      if (part?.kind === "LDS") this.#outlets.use(update.name, outlets);
      if (part !== undefined) this.#put(update.name, part, listeners);
      else this.#remove(update, listeners);
    }
    for (const [name, options] of listeners) this.#changed(name, options);
  }

  /** A listener could not be opened as it was to be; if it was there before, it goes on as it was. */
  listenerFailed(name: string): void {
    this.#outlets.keep(name);
  }

  get #outlets(): Outlets {
    return this.sinks.exporters.outlets;
  }

  /** Stops everything that goes on by itself, and writes out what is left of the access logs. */
  async close(): Promise<void> {
    this.#clusters.close();
    this.#hosts.close();
    for (const { timer } of this.#retiredTables.values()) clearTimeout(timer);
    await this.sinks.close();
  }

  #compile({ typeUrl, name, bytes }: RuntimeUpdate): Part | undefined {
    if (bytes === null) return undefined;
    const { sinks } = this;
    const part = partOf(typeUrl, name, bytes, {
      sinks,
      hosts: this.#hosts,
      settingsOf: (host) => this.#settingsOf(host),
    });
    // Virtual hosts that come with it are compiled before it is in place.
    if (part.kind === "RDS" && part.value instanceof LiveRouteTable) this.#settings.set(name, part.value.settings);
    return part;
  }

  #settingsOf(virtualHost: string): RouteSettings {
    const settings = this.#settings.get(routeConfigurationOf(virtualHost) ?? "");
    if (settings === undefined) throw new Error(`VHDS ${virtualHost}: there is no route configuration for it`);
    return settings;
  }

  #liveTable(virtualHost: string): LiveRouteTable | undefined {
    const table = this.#routeTables.get(routeConfigurationOf(virtualHost) ?? "");
    return table instanceof LiveRouteTable ? table : undefined;
  }

  #put(name: string, part: Part, listeners: Map<string, ListenerOptions | undefined>): void {
    switch (part.kind) {
      case "CDS":
        this.#clusters.configure(name, part.value);
        break;
      case "EDS":
        this.#clusters.assign(name, part.value);
        break;
      case "SDS":
        this.#secrets.set(name, part.value);
        break;
      case "RDS":
        this.#routeTables.set(name, part.value);
        break;
      case "VHDS":
        this.#liveTable(name)?.put(part.value);
        break;
      case "LDS":
        this.#listeners.add(name);
        listeners.set(name, part.value);
        break;
    }
  }

  #remove({ typeUrl, name }: RuntimeUpdate, listeners: Map<string, ListenerOptions | undefined>): void {
    switch (resourceTypeByUrl.get(typeUrl)?.shortName) {
      case "CDS":
        this.#clusters.remove(name);
        break;
      case "EDS":
        this.#clusters.assign(name, NO_ENDPOINTS);
        break;
      case "SDS":
        this.#secrets.delete(name);
        break;
      case "RDS":
        this.#retireTable(name);
        break;
      case "VHDS":
        this.#liveTable(name)?.remove(name);
        break;
      case "LDS":
        this.#outlets.use(name, undefined);
        if (this.#listeners.delete(name)) listeners.set(name, undefined);
        break;
      case undefined:
        throw new Error(`${name}: the resource type ${typeUrl} is not supported`);
    }
  }

  /** A listener that goes takes its routes along, but its connections drain yet, and their requests still need them. */
  #retireTable(name: string): void {
    const table = this.#routeTables.get(name);
    this.#routeTables.delete(name);
    if (table === undefined) return;
    clearTimeout(this.#retiredTables.get(name)?.timer);
    const timer = setTimeout(() => this.#retiredTables.delete(name), this.#retiredMs);
    timer.unref();
    this.#retiredTables.set(name, { table, timer });
  }
}

/** Waits for a promise, but not longer than so many ms. */
async function atMost(timeMs: number, promise: Promise<unknown>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, timeMs);
  });
  await Promise.race([promise, late]);
  clearTimeout(timer);
}
