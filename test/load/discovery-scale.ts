import { once } from "node:events";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { Worker } from "node:worker_threads";

import { DiscoveryRig } from "../support/discovery-rig.ts";
import { ask } from "../support/http.ts";
import { waitFor } from "../support/wait.ts";
import { cpuSeconds, residentMb } from "./cpu.ts";
import { consulCrowd, type CrowdRegistry, kubernetesCrowd } from "./discovery-crowds.ts";

const SERVICES = Number(process.env["SLUICE_BENCH_SERVICES"] ?? 5_000);
const ENDPOINTS = 20;
const CHANGES_PER_SECOND = 10;
const MEASURE_MS = 15_000;
/** After everything was found, until the control plane has nothing left to do. */
const SETTLE_MS = 15_000;
/** Until a registry has told all of its services. */
const TELL_MS_MAX = 300_000;

/** The ports of a service's instances, in the order of the round or against it. */
const ports = (service: number, round: number): number[] => {
  const all = Array.from({ length: ENDPOINTS }, (_, at) => 1_024 + service + at);
  return round % 2 === 0 ? all : all.toReversed();
};

/** What watching many services costs, at rest, with some changes, and when all of them are listed anew. */
export async function benchManyServices(): Promise<string[][]> {
  const rows: string[][] = [];
  for (const start of [consulCrowd, kubernetesCrowd]) {
    await using registry = await start(SERVICES);
    rows.push(...(await measure(registry)));
  }
  return rows;
}

async function measure(registry: CrowdRegistry): Promise<string[][]> {
  const preload = join(import.meta.dirname, "../support/turns-on-signal.ts");
  await using rig = await DiscoveryRig.start({ controlEnv: { NODE_OPTIONS: `--import=${preload}` } });
  const { pid } = rig.control.program;
  const emptyMb = residentMb(pid);
  const told = () => waitFor("all services to be told", () => registry.isTold(), TELL_MS_MAX);
  for (let at = 0; at < SERVICES; at++) registry.set(at, ports(at, 0));
  await rig.apply(gateway(registry));
  await told();
  await sleep(SETTLE_MS);
  const fullMb = residentMb(pid);

  const cpuBefore = cpuSeconds(pid);
  const startedMs = performance.now();
  let changes = 0;
  while (performance.now() - startedMs < MEASURE_MS) {
    const service = (changes * 7) % SERVICES;
    const [, ...rest] = ports(service, 0);
    registry.set(service, [50_000 + (changes % 1_000), ...rest]);
    changes++;
    await sleep(Math.max(0, startedMs + (changes * 1_000) / CHANGES_PER_SECOND - performance.now()));
  }
  const share = (cpuSeconds(pid) - cpuBefore) / ((performance.now() - startedMs) / 1_000);
  for (let at = 0; at < SERVICES; at++) registry.set(at, ports(at, 0));
  await told();
  await sleep(SETTLE_MS);

  const quiet = await holds(rig, () => sleep(5_000));
  const pushesBefore = await pushes(rig);
  const relisted = await holds(rig, async () => {
    registry.relist((service) => ports(service, 1));
    await told();
    await sleep(5_000);
  });
  const sent = (await pushes(rig)) - pushesBefore;
  const size = `${registry.name}, ${SERVICES} services × ${ENDPOINTS} endpoints`;
  const memory = `${Math.round(fullMb)} MB (empty ${Math.round(emptyMb)})`;
  const rest = (of: keyof Holds) => `${relisted[of]} ms (at rest ${quiet[of]} ms)`;
  return [
    [`${size}: resident memory of the control plane`, memory, "< 300 MB"],
    [`the same, CPU at ${CHANGES_PER_SECOND} changes/s`, `${(share * 100).toFixed(1)} % of a core`, "< 5 %"],
    ["all listed anew in another order: longest turn of the event loop", rest("turn"), "≤ 20 ms"],
    ["the same, as time of the processor", rest("worked"), ""],
    ["of which garbage collection, at most", rest("gc"), ""],
    ["the same: longest wait for /healthz", rest("wait"), ""],
    ["the same: xDS responses sent", String(sent), "0"],
  ];
}

/** How long something took at most, in ms. */
interface Holds {
  /** A turn of the control plane's event loop, as it says itself. */
  readonly turn: string;
  /** What its thread worked in the longest, without the times when the processor was another's. */
  readonly worked: string;
  /** A pause for garbage collection, which is part of a turn. */
  readonly gc: string;
  /** An answer of its health check: with what the system and this program, which is the registry, take of the processors. */
  readonly wait: string;
}

/** How long the control plane's event loop was held in one go at most while something happened, seen from within and from a thread of ours. */
async function holds(rig: DiscoveryRig, during: () => Promise<unknown>): Promise<Holds> {
  const pinging = new Worker(new URL("./ping.worker.ts", import.meta.url), { workerData: rig.control.adminPort });
  await once(pinging, "message");
  const { program } = rig.control;
  const lines = () => [...program.stderr.matchAll(/^turns ([\d.]+) worked ([\d.]+) gc ([\d.]+)$/gm)];
  const before = lines().length;
  // See turns-on-signal.ts.
  process.kill(program.pid, "SIGUSR2");
  await during();
  process.kill(program.pid, "SIGUSR2");
  const [, turn = "", worked = "", gc = ""] = await waitFor("the length of turns", () => lines()[before]);
  pinging.postMessage("stop");
  const [maxMs] = (await once(pinging, "message")) as [number];
  await pinging.terminate();
  return { turn, worked, gc, wait: maxMs.toFixed(1) };
}

async function pushes(rig: DiscoveryRig): Promise<number> {
  const headers = { authorization: `Bearer ${await rig.control.token()}` };
  const { body } = await ask(rig.control.adminPort, { path: "/metrics", headers });
  const counts = [...body.matchAll(/^sluice_xds_pushes_total\{[^}]*\} (\d+)$/gm)].map(([, count]) => Number(count));
  return counts.reduce((sum, count) => sum + count, 0);
}

const gateway = (registry: CrowdRegistry) => `
registries:
  - ${registry.entry}
services:
${Array.from(
  { length: SERVICES },
  (_, at) => `  - name: s${at}
    hosts: [s${at}.test]
    upstreams: [{ name: default, discovery: { registry: bench, ${registry.key(at)} } }]
    routes: [{ name: all, paths: ["/*"] }]`,
).join("\n")}
`;
