/** The native proxy's main thread: talks to the control plane, judges what it sends, and runs the workers and the admin endpoint. */
import { join } from "node:path";

import type { Logger } from "pino";

import { resourceType } from "#proto/resource-types.ts";

import { type AdminServer, isLoopback, startAdmin } from "./admin/server.ts";
import type { AdminSource, ServerState } from "./admin/source.ts";
import { breakerSamples } from "./breaker-stats.ts";
import { clusterLoads } from "./cluster-loads.ts";
import { ControlPlaneLink } from "./control-plane-link.ts";
import { HeapTrim } from "./heap-trim.ts";
import { StatsReader } from "./observe/stats-reader.ts";
import { createLogger } from "./logger.ts";
import { type CheckedOptions, checkOptions, isWorkerCount, type ProxyOptions } from "./options.ts";
import { membershipSamples } from "./membership-stats.ts";
import { validateResource } from "./parts.ts";
import { serverSamples } from "./server-stats.ts";
import { startSuccessor, type Successor } from "./successor.ts";
import { supportedFields } from "./supported-fields.ts";
import { workerSamples } from "./worker-stats.ts";
import { Workers } from "./workers.ts";
import { Configuration } from "./xds/configuration.ts";
import { SnapshotKeeper } from "./xds/snapshot-keeper.ts";
import { SnapshotWriter } from "./xds/snapshot.ts";

export { receiveHandover } from "./handover.ts";
export type { ProxyOptions } from "./options.ts";

/** A proxy at work. */
export interface RunningProxy {
  /** "host:port" of the admin endpoint. */
  readonly adminAddress: string;
  /** Drains and stops: listeners accept no more, connections may end within the drain time, then the rest is cut off. */
  close(): Promise<void>;
  /**
   * Hot restart: starts this program anew on the same sockets, waits until it serves, and then drains and stops this one. Undefined: the
   * successor did not come up, which is told in the log, or this one is stopping; it goes on.
   */
  replace(): Promise<Successor | undefined>;
}

/**
 * Starts a proxy in this process. Resolves when it serves its first configuration, be it the control plane's or the last good one on disk,
 * or when there is neither and it waits for the control plane; it then goes on by itself. Throws StartError for what the operator must
 * change, and the system's error if the admin address can't be had. Signals are the caller's affair.
 */
export async function runProxy(options: ProxyOptions): Promise<RunningProxy> {
  const checked = checkOptions(options, isLoopback);
  const log = createLogger(checked.logLevel, options.nodeId);

  const proxy = new Proxy(options, checked, log);
  try {
    await proxy.start();
  } catch (error) {
    await proxy.abandon();
    throw error;
  }
  return proxy;
}

class Proxy implements RunningProxy {
  readonly #options: ProxyOptions;
  readonly #checked: CheckedOptions;
  readonly #log: Logger;
  readonly #startedAt = performance.now();
  readonly #stats = new StatsReader();
  readonly #configuration: Configuration;
  readonly #workers: Workers;
  readonly #link: ControlPlaneLink;
  readonly #snapshotFile: string | undefined;
  readonly #snapshots: SnapshotWriter;
  readonly #trim = new HeapTrim();
  readonly #isLive = Promise.withResolvers<void>();
  #admin: AdminServer | undefined;
  /** When all workers serve the configuration. */
  readonly #whole = Promise.withResolvers<void>();
  #isWhole = false;
  #live = false;
  #replacing = false;
  #draining: Promise<void> | undefined;

  constructor(options: ProxyOptions, checked: CheckedOptions, log: Logger) {
    this.#options = options;
    this.#checked = checked;
    this.#log = log;
    const { dataDirectory, nodeId, gatewayGroup } = options;
    // One file per node: several proxies may share a directory.
    this.#snapshotFile =
      dataDirectory === undefined ? undefined : join(dataDirectory, "proxy", `${encodeURIComponent(nodeId)}.snapshot`);
    const keeper =
      this.#snapshotFile === undefined
        ? undefined
        : new SnapshotKeeper({
            file: this.#snapshotFile,
            group: gatewayGroup,
            all: () => this.#configuration.stored(),
            find: (typeUrl, name) => this.#configuration.storedOf(typeUrl, name),
          });
    this.#snapshots = new SnapshotWriter(
      async () => keeper?.write(),
      (error) => log.error({ err: error, file: this.#snapshotFile }, "the configuration could not be kept on disk"),
    );
    // Until this process serves, the one before it keeps what it has.
    if (options.handover !== undefined) void this.#snapshots.hold();
    this.#configuration = new Configuration({
      decoder: { fields: supportedFields, validate: validateResource },
      apply: (updates) => {
        const inUse = this.#workers.apply(updates);
        this.#trim.changed(updates.length);
        keeper?.changed(updates);
        this.#snapshots.changed();
        // Before it is live nobody is served by anything else; and its workers start while more comes.
        return this.#live ? orLate(inUse) : undefined;
      },
      log,
      ours: new Set(options.handover?.sockets.map(hostPort)),
    });
    this.#configuration.onChange(() => this.#changed());
    this.#workers = new Workers({
      count: options.handover?.workers ?? checked.workers,
      drainTimeMs: checked.drainTimeMs,
      connectionsMax: options.maxConnections,
      node: { id: nodeId, cluster: gatewayGroup },
      controlPlane: () => this.#link.access,
      log,
      current: () => this.#configuration.all(),
      changed: () => this.#changed(),
      stats: this.#stats,
      inherited: options.handover,
    });
    this.#link = new ControlPlaneLink(options, this.#configuration, log, () =>
      clusterLoads((type) => this.#configuration.active(type), this.#stats),
    );
  }

  get adminAddress(): string {
    if (this.#admin === undefined) throw new Error("the proxy has not been started");
    return this.#admin.address;
  }

  async start(): Promise<void> {
    const { host, port } = this.#checked.admin;
    this.#admin = await startAdmin(host, port, this.#source(), this.#log, this.#options.handover?.adminFd);
    this.#log.info({ admin: this.#admin.address, workers: this.#checked.workers }, "proxy started");
    await this.#link.start(this.#snapshotFile);
    // An answer was there, or a snapshot: what came is about to be live. Without either there is nothing to wait for.
    if (this.#configuration.answered || this.#configuration.live) await orLate(this.#isLive.promise);
    // The process before this one serves until this one does, with all of its workers.
    if (this.#options.handover === undefined) return;
    await this.#whole.promise;
    this.#snapshots.release();
  }

  async replace(): Promise<Successor | undefined> {
    if (this.#draining !== undefined || this.#replacing || this.#admin === undefined) return undefined;
    this.#replacing = true;
    const { lifeline } = this.#options.handover ?? {};
    // What the operator wants from now on is for the successor.
    lifeline?.pause();
    try {
      // Workers that are starting still open sockets, of which the successor would not know.
      await orLate(this.#whole.promise);
      // Where no control plane answers, the successor starts from the disk, and must not know less than what was accepted here.
      await orLate(this.#snapshots.write());
      const estate = await this.#workers.inheritance();
      const xds = await this.#options.xdsAddress;
      const successor = await startSuccessor({ ...estate, adminFd: this.#admin.fd, xds, lifeline }, (successor) =>
        this.#log.info({ successor }, "a successor starts"),
      );
      this.#log.info("the successor serves");
      const held = orLate(this.#snapshots.hold());
      // Both would answer, and be asked what the other one knows.
      await Promise.all([this.#admin.close(), this.#link.close(), held]);
      await this.close();
      return successor;
    } catch (error) {
      lifeline?.resume();
      this.#log.error({ err: error }, "the successor did not come up; this process goes on");
      return undefined;
    } finally {
      this.#replacing = false;
    }
  }

  /** Takes down what was started before starting failed. */
  async abandon(): Promise<void> {
    await this.#link.close();
    this.#configuration.close();
    await Promise.all([this.#workers.close(), this.#admin?.close()]);
  }

  async close(): Promise<void> {
    this.#log.info({ drainTimeMs: this.#checked.drainTimeMs }, "draining");
    await this.#drain();
    await this.#link.close();
    this.#configuration.close();
    this.#trim.close();
    await this.#snapshots.flush();
    await Promise.all([this.#workers.close(), this.#admin?.close()]);
    this.#log.info("proxy stopped");
  }

  #drain(): Promise<void> {
    this.#draining ??= this.#workers.drain(this.#checked.drainTimeMs);
    return this.#draining;
  }

  #becameWhole(): void {
    if (this.#isWhole) return;
    this.#isWhole = true;
    this.#workers.closeUnclaimed();
    this.#whole.resolve();
  }

  #changed(): void {
    if (this.#configuration.live && this.#workers.upToDate === this.#workers.count) this.#becameWhole();
    if (this.#live || !this.#configuration.live || this.#workers.upToDate === 0) return;
    this.#live = true;
    const count = (shortName: "LDS" | "RDS" | "CDS") => this.#configuration.active(resourceType(shortName)).size;
    this.#log.info({ listeners: count("LDS"), routes: count("RDS"), clusters: count("CDS") }, "configuration is live");
    this.#isLive.resolve();
  }

  #state(): ServerState {
    if (this.#draining !== undefined || this.#workers.healthFailed) return "DRAINING";
    // Workers that crash one after the other serve nothing, however good the configuration was found.
    return this.#live && this.#workers.serving > 0 ? "LIVE" : "PRE_INITIALIZING";
  }

  #setWorkers(count: number): boolean {
    if (!isWorkerCount(count)) return false;
    this.#log.info({ from: this.#workers.count, to: count }, "the number of workers changes");
    this.#workers.setCount(count);
    return true;
  }

  #source(): AdminSource {
    const workers = this.#workers;
    return {
      nodeId: this.#options.nodeId,
      group: this.#options.gatewayGroup,
      version: this.#options.version,
      get workers() {
        return workers.count;
      },
      logLevel: this.#checked.logLevel,
      drainTimeMs: this.#checked.drainTimeMs,
      startedAt: this.#startedAt,
      state: () => this.#state(),
      // A successor is told when it starts how many workers there shall be, for each of which it has sockets, and whether health checks fail.
      isHandingOver: () => this.#replacing || (this.#options.handover !== undefined && !this.#isWhole),
      active: (type) => this.#configuration.active(type),
      refused: (type) => this.#configuration.refused(type),
      clusters: () => this.#workers.clusters(),
      setWorkers: (count) => this.#setWorkers(count),
      samples: () => this.#samples(),
      failHealth: (failed) => this.#workers.failHealth(failed),
      drainListeners: () => void this.#drain(),
      reopenLogs: () => this.#workers.reopenLogs(),
    };
  }

  #samples() {
    const server = serverSamples({
      state: this.#state(),
      connected: this.#configuration.connected,
      workers: this.#workers.count,
      serving: this.#workers.serving,
      updates: this.#configuration.updates,
      active: (type) => this.#configuration.active(type).size,
      waiting: (type) => this.#configuration.waiting(type).length,
      workerCrashes: this.#workers.crashes,
      uptimeSeconds: Math.floor((performance.now() - this.#startedAt) / 1000),
    });
    const membership = membershipSamples((type) => this.#configuration.active(type));
    const { count } = this.#workers;
    const breakers = breakerSamples((type) => this.#configuration.active(type), count, this.#stats.gauges("cluster"));
    return [
      ...server,
      ...membership,
      ...breakers,
      ...workerSamples(this.#stats.gauges("listener")),
      ...this.#stats.samples(),
    ];
  }
}

/** As long as the first configuration may take to become whole, a little less than Envoy's 15 s; then the proxy goes on. */
const LIVE_MS_MAX = 10_000;

async function orLate(reached: Promise<void>): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<void>((resolve) => {
    timer = setTimeout(resolve, LIVE_MS_MAX);
  });
  await Promise.race([reached, late]);
  clearTimeout(timer);
}

const hostPort = ({ address, port }: { address: string; port: number }) =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
