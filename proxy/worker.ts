/** A worker thread: serves requests by the configuration that the main thread sends. workers.ts starts it. */
import { flushCompileCache } from "node:module";
import { parentPort, workerData } from "node:worker_threads";

import type { ClusterStatus } from "./admin/source.ts";
import type { Cluster } from "./cluster/cluster.ts";
import { collector } from "./heap-trim.ts";
import { ConnectionCounts } from "./listen/connection-counts.ts";
import { Crowd } from "./listen/crowd.ts";
import { InheritedSockets } from "./listen/inherited.ts";
import { KeyedCounts } from "./listen/keyed-counts.ts";
import { ListenerSet } from "./listener-set.ts";
import { StatsStore } from "./observe/stats.ts";
import { unpackUpdates } from "./packed-updates.ts";
import { WorkerRuntime } from "./runtime.ts";
import type { FromWorker, ToWorker, WorkerSettings } from "./worker-messages.ts";

if (parentPort === null) throw new Error("proxy/worker.ts is started by proxy/workers.ts only");
const port = parentPort;

/** A worker that has crashed so often serves nobody any more. */
const CRASHES_MAX = 100;

const settings = workerData as WorkerSettings;
const { drainTimeMs, ticketKey, inherited, place, connections, limits, addresses, connectionsMax, node } = settings;
let ticketKeys = Buffer.from(ticketKey);
let healthFailed = false;
const legacy = new InheritedSockets(inherited);

const tell = (message: FromWorker) => port.postMessage(message);

const runtime: WorkerRuntime = new WorkerRuntime(
  new StatsStore(tell),
  (name, options) => listeners.set(name, options),
  drainTimeMs,
  node,
);
const counts = new ConnectionCounts(connections, place);
const crowd = new Crowd(counts.counter("all"), counts.counter("workers"));
const listeners: ListenerSet = new ListenerSet(
  {
    runtime,
    reusePort: true,
    counts,
    crowd,
    limitCounts: new KeyedCounts(limits, place),
    addressCounts: new KeyedCounts(addresses, place),
    ...(connectionsMax > 0 && { connectionsMax }),
    ticketKeys: () => ticketKeys,
    healthFailed: () => healthFailed,
    inherited: (at) => legacy.take(at),
  },
  drainTimeMs,
  (name, error) => {
    runtime.listenerFailed(name);
    tell({ kind: "listener-failed", name, reason: error.message });
  },
);

/** Changes are carried out one after the other. */
let changes: Promise<void> = Promise.resolve();

/**
 * A bug of one request, or of one change, is no reason to break off all other connections: the main thread is told, which starts another worker and has this
 * one drain, that is serve what there is. One that goes from bug to bug ends.
 */
let crashes = 0;
process.on("uncaughtException", (thrown: unknown) => {
  if (++crashes > CRASHES_MAX) process.exit(1);
  const { message, stack } = thrown instanceof Error ? thrown : new Error(String(thrown));
  tell({ kind: "crashed", message, stack });
});

port.on("message", (message: ToWorker) => {
  // What goes wrong here is a bug: see above.
  handle(message).catch((error: unknown) => {
    setImmediate(() => {
      throw error;
    });
  });
});

async function handle(message: ToWorker): Promise<void> {
  switch (message.kind) {
    case "apply":
      await change(() => apply(message));
      break;
    case "list-clusters":
      tell({ kind: "clusters", id: message.id, clusters: Array.from(runtime.clusters(), statusOf) });
      break;
    case "ticket-key":
      ticketKeys = Buffer.from(message.key);
      break;
    case "list-sockets":
      await changes;
      tell({ kind: "sockets", id: message.id, sockets: [...listeners.sockets(), ...legacy.sockets()] });
      break;
    case "adopt":
      await change(() => adopt(message));
      break;
    case "close-unclaimed":
      legacy.closeRest();
      break;
    case "health":
      healthFailed = message.failed;
      listeners.healthChanged();
      break;
    case "reopen-logs":
      await runtime.sinks.reopen();
      tell({ kind: "reopened", id: message.id });
      break;
    case "drain":
      crowd.part();
      await listeners.drain(message.timeMs);
      await runtime.close();
      tell({ kind: "drained" });
      break;
  }
}

/** Carries out a change after those before it. Rejects if it fails; those after it are carried out all the same. */
function change(carryOut: () => Promise<void>): Promise<void> {
  const done = changes.then(carryOut);
  changes = done.catch(() => {});
  return done;
}

async function adopt({ id, sockets }: Extract<ToWorker, { kind: "adopt" }>): Promise<void> {
  try {
    await legacy.adopt(sockets);
    await listeners.adopt();
    tell({ kind: "adopted", id });
  } catch (error) {
    tell({ kind: "adopted", id, problem: error instanceof Error ? error.message : String(error) });
  }
}

async function apply({ updates, sequence, controlPlane }: Extract<ToWorker, { kind: "apply" }>): Promise<void> {
  runtime.controlPlane ??= controlPlane;
  // What loading all modules left behind, before there are requests that would wait for it: a third of this thread's heap.
  if (sequence === 1) collector()?.();
  await runtime.apply(unpackUpdates(updates));
  await listeners.settled();
  crowd.join();
  tell({ kind: "applied", sequence, listening: !listeners.down });
  if (sequence === 1) flushCompileCache(); // Written at the end otherwise, which a thread that is terminated does not reach.
}

function statusOf(cluster: Cluster): ClusterStatus {
  return {
    name: cluster.name,
    statName: cluster.settings.statName,
    breakers: cluster.settings.breakers,
    highBreakers: cluster.settings.highBreakers,
    endpoints: Array.from(cluster.endpoints(), (endpoint) => ({
      address: endpoint.address,
      port: endpoint.port,
      hostname: endpoint.hostname,
      weight: endpoint.weight,
      priority: endpoint.priority,
      healthy: endpoint.healthy,
      activeRequests: endpoint.activeRequests,
    })),
  };
}
