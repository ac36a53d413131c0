/**
 * The soak: random writes by the admin API, for as long as is wished, while Envoys and native proxies carry traffic and many more data
 * planes follow, some of them badly; half-way the control plane is killed. At the end everybody holds the same, no request has failed, and
 * the control plane's memory has not grown.
 */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { ControlPlane, startEnvoy, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import type { SteadyLoad } from "../support/steady-clients.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { envoy } from "../support/tools.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";
import { Changes, HOST, type SoakGroup } from "./changes.ts";
import { NativeClient } from "../support/native-client.ts";
import { Random } from "./random.ts";
import { habits, Recorder } from "./recorder.ts";

export interface SoakOptions {
  readonly seconds: number;
  /** It goes on until so many were made, too. */
  readonly changesMin: number;
  readonly seed: number;
  readonly envoys: number;
  /** Native proxies with traffic. */
  readonly proxies: number;
  /** Streams of the native proxy's client, without a proxy. */
  readonly nativeStreams: number;
  readonly recorders: number;
  /** Told now and then, for people. */
  readonly say: (text: string) => void;
}

export interface SoakOutcome {
  readonly changes: number;
  readonly requests: number;
  /** Requests that failed, data planes that hold something else than the others, and what grew: empty if all is well. */
  readonly problems: readonly string[];
}

const UPSTREAMS = 3;
const LOAD_CLIENTS = 2;
/** Between two requests of a client: the power of the machine is for the changes. */
const LOAD_PAUSE_MS = 20;
/** Between two changes at most. */
const PAUSE_MS_MAX = 200;
/** For everybody to hold the same after the last change; a machine that does other things besides takes long. */
const SETTLE_MS_MAX = 300_000;
/** Of the data planes, so many must be there when the heap is first looked at; those that come and go may be away. */
const STREAMS_BACK_SHARE = 0.8;
/** What the heap may grow by from the first checkpoint after the restart to the last one: a share, and an amount for noise. */
const HEAP_GROWTH_SHARE = 0.25;
const HEAP_GROWTH_MB = 10;

/** Runs it. @throws Error if something could not be started, or never came to rest */
export async function runSoak(options: SoakOptions): Promise<SoakOutcome> {
  const { seed } = options;
  await using cleanup = new AsyncDisposableStack();
  const random = new Random(seed);
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  const upstreams = await Promise.all(Array.from({ length: UPSTREAMS }, (_, at) => startUpstream(`u${at}`)));
  for (const upstream of upstreams) cleanup.defer(() => upstream.close());
  let plane = await startPlane(join(dir.path, "data"));
  cleanup.defer(() => plane.program.stop("SIGKILL"));

  const groups = await makeGroups(options);
  const ports = upstreams.map(({ port }) => port);
  const changes = new Changes(random, groups, ports);
  await changes.begin(plane);
  const loads = await startDataPlanes(options, plane, groups, cleanup);

  const target = `127.0.0.1:${plane.xdsPort}`;
  const listening = new Set(groups.flatMap(({ port, otherPort }) => [`127.0.0.1:${port}`, `127.0.0.1:${otherPort}`]));
  const groupAt = (at: number) => (groups[at % groups.length] as SoakGroup).name;
  const natives = Array.from(
    { length: options.nativeStreams },
    (_, at) => new NativeClient({ group: groupAt(at), id: `native-${at}` }, target, listening),
  );
  for (const native of natives) cleanup.defer(() => native.stop());
  const recorders = Array.from({ length: options.recorders }, (_, at) => {
    const habit = habits[Math.floor(at / groups.length) % habits.length] ?? "none";
    const kind = Math.floor(at / groups.length / habits.length) % 2 === 0 ? "delta" : "sotw";
    const who = { group: groupAt(at), id: `${kind}-${habit}-${at}`, kind, habit } as const;
    return new Recorder(who, target, new Random(seed + at + 1));
  });
  for (const recorder of recorders) cleanup.defer(() => recorder.stop());

  const startMs = performance.now();
  const say = (text: string) => options.say(`${((performance.now() - startMs) / 1000).toFixed(2)} s: ${text}`);
  const changeUntil = async (share: number) => {
    const untilMs = startMs + options.seconds * 1_000 * share;
    while (performance.now() < untilMs || changes.made < options.changesMin * share) {
      await changes.next(plane);
      await sleep(random.between(0, PAUSE_MS_MAX));
    }
  };
  await changeUntil(0.4);
  say(`${changes.made} changes; the control plane is killed`);
  await plane.program.stop("SIGKILL");
  plane = await startPlane(plane.data, plane);
  await changeUntil(0.6);
  await streamsOf(plane, STREAMS_BACK_SHARE * (groups.length + natives.length + recorders.length));
  const heapBefore = await heapMb(plane);
  say(`${changes.made} changes; heap ${heapBefore.toFixed(1)} MB`);
  await changeUntil(1);
  for (const recorder of recorders) recorder.calm();
  await changes.next(plane);
  say(`${changes.made} changes; waiting until everybody holds the same`);

  const problems = await compare(plane, groups, natives, recorders, target, listening);
  const heapAfter = await heapMb(plane);
  say(`heap ${heapAfter.toFixed(1)} MB`);
  if (heapAfter > heapBefore * (1 + HEAP_GROWTH_SHARE) + HEAP_GROWTH_MB) {
    problems.push(`the heap grew from ${heapBefore.toFixed(1)} to ${heapAfter.toFixed(1)} MB`);
  }
  let requests = 0;
  for (const { name, load } of loads) {
    await load.stop();
    requests += load.answered;
    problems.push(...load.failures.map((failure) => `${name}: ${failure}`));
    if (load.answered === 0) problems.push(`${name}: no request was answered`);
  }
  return { changes: changes.made, requests, problems };
}

const startPlane = (data: string, ports: { adminPort?: number; xdsPort?: number } = {}) => {
  const { adminPort, xdsPort } = ports;
  const preload = join(import.meta.dirname, "../support/heap-on-signal.ts");
  return ControlPlane.start(data, {
    ...(adminPort !== undefined && xdsPort !== undefined && { adminPort, xdsPort }),
    env: { NODE_OPTIONS: `--expose-gc --import=${preload}` },
  });
};

/** One group for each data plane with traffic: on one machine no two can listen on the same port. */
const makeGroups = ({ envoys, proxies }: SoakOptions): Promise<SoakGroup[]> =>
  Promise.all(
    Array.from({ length: envoys + proxies }, async (_, at) => ({
      name: at < envoys ? `envoy-${at}` : `proxy-${at - envoys}`,
      port: await freePort(),
      otherPort: await freePort(),
    })),
  );

async function startDataPlanes(
  { envoys }: SoakOptions,
  plane: ControlPlane,
  groups: readonly SoakGroup[],
  cleanup: AsyncDisposableStack,
): Promise<{ name: string; load: SteadyLoad }[]> {
  const loads: { name: string; load: SteadyLoad }[] = [];
  for (const [at, { name, port }] of groups.entries()) {
    const who = { group: name, nodeId: name };
    const { program } =
      at < envoys ? await startEnvoy(await envoy(), plane.xdsPort, who) : await startProxy(plane.xdsPort, who);
    cleanup.defer(() => program.stop("SIGKILL"));
    await waitFor(
      `${name} to answer`,
      async () => (await ask(port, { headers: { host: HOST } })).status === 200,
      60_000,
    );
  }
  // Only now, since starting takes the machine's whole power.
  for (const { name, port } of groups) {
    const load = startSteadyLoad(port, LOAD_CLIENTS, undefined, { pauseMs: LOAD_PAUSE_MS });
    cleanup.defer(() => load.stop());
    loads.push({ name, load });
  }
  return loads;
}

/** Waits until all data planes hold what one that comes anew is sent; says of those that don't what differs. */
async function compare(
  plane: ControlPlane,
  groups: readonly SoakGroup[],
  natives: readonly NativeClient[],
  recorders: readonly Recorder[],
  target: string,
  listening: ReadonlySet<string>,
): Promise<string[]> {
  const problems: string[] = [];
  const endMs = performance.now() + SETTLE_MS_MAX;
  for (const { name: group } of groups) {
    const fresh = new Recorder({ group, id: "fresh", kind: "delta", habit: "none" }, target, new Random(0));
    const freshNative = new NativeClient({ group, id: "fresh-native" }, target, listening);
    try {
      await inStep(plane, group, endMs, problems);
      for (const [reference, others] of [
        [fresh, recorders],
        [freshNative, natives],
      ] as const) {
        for (const other of others) {
          if (other.group !== group) continue;
          const wrong = () => difference(reference.held(), other.held());
          while (wrong() !== undefined && performance.now() < endMs) await sleep(50);
          const found = wrong();
          if (found !== undefined) problems.push(`${other.id} of ${group}: ${found}`);
        }
      }
    } finally {
      await fresh.stop();
      await freshNative.stop();
    }
  }
  return problems;
}

/** Waits until the control plane says that every data plane of the group has accepted all. */
async function inStep(plane: ControlPlane, group: string, endMs: number, problems: string[]): Promise<void> {
  for (;;) {
    const { stdout } = await plane.sluice("status", "-o", "json");
    const { nodes } = JSON.parse(stdout) as { nodes: { gatewayGroup: string; nodeId: string; state: string }[] };
    const behind = nodes.filter((node) => node.gatewayGroup === group && !/synced|disconnected/i.test(node.state));
    if (behind.length === 0) return;
    if (performance.now() > endMs) {
      problems.push(...behind.map(({ nodeId, state }) => `${nodeId} of ${group} is ${state}`));
      return;
    }
    await sleep(200);
  }
}

/** What one holds and the other doesn't; undefined if they hold the same, and something. */
function difference(expected: ReadonlyMap<string, string>, found: ReadonlyMap<string, string>): string | undefined {
  if (expected.size === 0) return "there is nothing to compare with";
  for (const [name, version] of expected) {
    if (!found.has(name)) return `it lacks ${name}`;
    if (found.get(name) !== version) return `it holds another ${name}`;
  }
  for (const name of found.keys()) if (!expected.has(name)) return `it still holds ${name}`;
  return undefined;
}

/** Waits until the control plane has so many streams. */
async function streamsOf(plane: ControlPlane, streams: number): Promise<void> {
  const headers = { authorization: `Bearer ${await plane.token()}` };
  const look = async () => {
    const { body } = await ask(plane.adminPort, { path: "/metrics", headers });
    return Number(/^sluice_xds_streams (\d+)$/m.exec(body)?.[1] ?? 0) >= streams;
  };
  await waitFor(`${streams} streams to be open`, look, SETTLE_MS_MAX);
}

/** The control plane's heap after a collection. */
async function heapMb({ program }: ControlPlane): Promise<number> {
  const before = program.stderr.length;
  program.child.kill("SIGUSR2");
  const [, bytes] = await waitFor("the heap's size", () => /^heap (\d+)$/m.exec(program.stderr.slice(before)), 60_000);
  return Number(bytes) / 2 ** 20;
}
