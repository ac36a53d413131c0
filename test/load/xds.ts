/** Our xDS server beside go-control-plane's snapshot cache: the same resources, the same fleet of data planes, one after the other. */
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

import { temporaryDir } from "../support/gateway.ts";
import { xdsPrograms } from "../support/go-control-plane.ts";
import { cpuSeconds, residentMb } from "./cpu.ts";
import { median, table } from "./table.ts";
import { Fleet, recordResources } from "./xds-fleet.ts";
import { group, startGoControlPlane, startSluice, type XdsPeer } from "./xds-peers.ts";

interface Setup {
  readonly streams: number;
  readonly clusters: number;
  /** At most so much of go-control-plane's time for a change; undefined where there is no target. */
  readonly changeTarget?: number;
  readonly cpuTarget?: number;
}

const setups: readonly Setup[] = [
  { streams: 100, clusters: 1_000 },
  { streams: 1_000, clusters: 1_000, changeTarget: 1 / 15, cpuTarget: 1 / 15 },
  { streams: 100, clusters: 10_000, changeTarget: 1 / 100, cpuTarget: 1 / 15 },
];
const quickSetups: readonly Setup[] = [{ streams: 100, clusters: 1_000 }];

const CHANGES = 20;
const ADDED = 5;
/** For how the cost of a change grows, after what is compared: so many that a major collection among them, which takes as long as dozens of changes, weighs little. */
const GROWTH_CHANGES = 400;
const IDLE_STREAMS = 5_000;
const IDLE_STREAM_KB_MAX = 150;
/** Until a server has heard all answers and has nothing left to do. */
const SETTLE_MS = 2_000;

/** What one server took for one setup. */
interface Run {
  readonly firstSyncMs: number;
  readonly firstSyncCpuS: number;
  readonly changeMs: number;
  readonly changeWorstMs: number;
  readonly changeCpuMs: number;
  readonly addMs: number;
  readonly cpuS: number;
  readonly mb: number;
}

/** What a change takes in a long run of them. */
interface ChangeCost {
  readonly changeMs: number;
  readonly changeCpuMs: number;
}

/** Measures, and prints tables. `quick` leaves out all but the smallest setup. */
export async function benchXds(quick: boolean): Promise<void> {
  const programs = await xdsPrograms();
  const ours = new Map<number, ChangeCost>();
  for (const setup of quick ? quickSetups : setups) {
    const [sluice, peer, cost] = await compare(programs, setup);
    if (cost !== undefined) ours.set(setup.clusters, cost);
    const head = [
      `${setup.streams} streams × ${setup.clusters} clusters`,
      "sluice",
      "go-control-plane",
      "ratio",
      "target",
    ];
    console.log(`${table(head, rows(setup, sluice, peer))}\n`);
  }
  const small = ours.get(1_000);
  const large = ours.get(10_000);
  if (small !== undefined && large !== undefined) {
    const growth = (what: string, of: keyof ChangeCost) => [
      `${what} (${GROWTH_CHANGES} changes)`,
      ...[small, large].map((cost) => `${cost[of].toFixed(1)} ms`),
      `${(large[of] / small[of]).toFixed(2)} ×`,
      "< 1.5 ×",
    ];
    const head = ["sluice, 100 streams", "1,000 clusters", "10,000 clusters", "growth", "target"];
    const last = growth("one change, last stream, median", "changeMs");
    console.log(`${table(head, [last, growth("one change, server CPU", "changeCpuMs")])}\n`);
  }
  if (!quick) console.log(table(["idle streams", "memory", "per stream", "target"], await idle(programs)));
}

/** Undefined in the place of the cost: it is not needed of this setup. */
async function compare(
  programs: string,
  { streams, clusters }: Setup,
): Promise<[sluice: Run, peer: Run, cost: ChangeCost | undefined]> {
  const dir = await temporaryDir();
  try {
    const resources = join(dir.path, "resources");
    const sluice = await startSluice(dir.path, clusters);
    const ours = await measured(sluice, async () => {
      // One stream before the others has the resources recorded, and our code compiled as in a process that has run for a while.
      await recordResources(programs, { target: sluice.target, group, clusters }, resources);
      const run = await measure(programs, sluice, streams, clusters);
      return { run, cost: streams === 100 ? await changeCost(programs, sluice, streams, clusters) : undefined };
    });
    const peer = await startGoControlPlane(resources);
    const theirs = await measured(peer, () => measure(programs, peer, streams, clusters));
    return [ours.run, theirs, ours.cost];
  } finally {
    await dir.remove();
  }
}

async function measured<T>(peer: XdsPeer, run: () => Promise<T>): Promise<T> {
  try {
    return await run();
  } finally {
    await peer.stop();
  }
}

async function measure(programs: string, peer: XdsPeer, streams: number, clusters: number): Promise<Run> {
  await sleep(SETTLE_MS);
  const { pid, target } = peer;
  const startCpuS = cpuSeconds(pid);
  await using fleet = await Fleet.start(programs, { target, group, streams, clusters });
  await sleep(SETTLE_MS);
  const syncedCpuS = cpuSeconds(pid);
  const lastMs: number[] = [];
  for (let at = 0; at < CHANGES; at++) lastMs.push((await fleet.change(peer.change(at))).lastMs);
  await sleep(SETTLE_MS);
  const changedCpuS = cpuSeconds(pid);
  const addedMs: number[] = [];
  for (let at = 0; at < ADDED; at++) addedMs.push((await fleet.change(peer.add(at))).lastMs);
  await sleep(SETTLE_MS);
  return {
    firstSyncMs: fleet.syncedMs,
    firstSyncCpuS: syncedCpuS - startCpuS,
    changeMs: median(lastMs),
    changeWorstMs: Math.max(...lastMs),
    changeCpuMs: ((changedCpuS - syncedCpuS) * 1_000) / CHANGES,
    addMs: median(addedMs),
    cpuS: cpuSeconds(pid) - startCpuS,
    mb: residentMb(pid),
  };
}

/** Many changes, to a fleet that is in step. */
async function changeCost(programs: string, peer: XdsPeer, streams: number, clusters: number): Promise<ChangeCost> {
  const { pid, target } = peer;
  // Those that were added stay.
  await using fleet = await Fleet.start(programs, { target, group, streams, clusters: clusters + ADDED });
  await sleep(SETTLE_MS);
  const startCpuS = cpuSeconds(pid);
  const lastMs: number[] = [];
  for (let at = 0; at < GROWTH_CHANGES; at++) lastMs.push((await fleet.change(peer.change(CHANGES + at))).lastMs);
  await sleep(SETTLE_MS);
  return { changeMs: median(lastMs), changeCpuMs: ((cpuSeconds(pid) - startCpuS) * 1_000) / GROWTH_CHANGES };
}

function rows({ changeTarget, cpuTarget }: Setup, sluice: Run, peer: Run): string[][] {
  const row = (what: string, of: keyof Run, unit: string, target?: number) => [
    what,
    ...[sluice, peer].map((run) => `${run[of].toFixed(run[of] < 100 ? 1 : 0)} ${unit}`),
    ratio(sluice[of] / peer[of]),
    target === undefined ? "" : `≤ ${ratio(target)}`,
  ];
  return [
    row("first sync, last stream", "firstSyncMs", "ms"),
    row("first sync, server CPU", "firstSyncCpuS", "s"),
    row(`one endpoint set changes, last stream (median of ${CHANGES})`, "changeMs", "ms", changeTarget),
    row("the same, worst", "changeWorstMs", "ms"),
    row("the same, server CPU", "changeCpuMs", "ms"),
    row(`one service is added, last stream (median of ${ADDED})`, "addMs", "ms"),
    row("server CPU of the whole run", "cpuS", "s", cpuTarget),
    row("resident memory at the end", "mb", "MB"),
  ];
}

const ratio = (value: number) => (value < 1 ? `1/${(1 / value).toFixed(1)}` : value.toFixed(2));

/** What streams cost that nothing is sent on: many of them, each on its own connection and in step with one cluster. */
async function idle(programs: string): Promise<string[][]> {
  const dir = await temporaryDir();
  const clusters = 1;
  try {
    const resources = join(dir.path, "resources");
    const sluice = await startSluice(dir.path, clusters);
    const ours = await measured(sluice, async () => {
      await recordResources(programs, { target: sluice.target, group, clusters }, resources);
      return await idleRow(programs, sluice);
    });
    const peer = await startGoControlPlane(resources);
    return [ours, await measured(peer, () => idleRow(programs, peer))];
  } finally {
    await dir.remove();
  }
}

async function idleRow(programs: string, { name, pid, target }: XdsPeer): Promise<string[]> {
  await sleep(SETTLE_MS);
  const before = residentMb(pid);
  await using fleet = await Fleet.start(programs, { target, group, streams: IDLE_STREAMS, clusters: 1 });
  await sleep(5 * SETTLE_MS);
  const after = residentMb(pid);
  const perStreamKb = ((after - before) * 1_024) / IDLE_STREAMS;
  const synced = `${name}: ${IDLE_STREAMS} in step after ${(fleet.syncedMs / 1_000).toFixed(1)} s`;
  const memory = `${before.toFixed(0)} → ${after.toFixed(0)} MB`;
  return [synced, memory, `${perStreamKb.toFixed(0)} kB`, `< ${IDLE_STREAM_KB_MAX} kB`];
}
