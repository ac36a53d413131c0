/**
 * CPU per proxied request: the native proxy beside Envoy, nginx, haproxy and fastify's http-proxy, in one run. Each has one worker, 1,000 routes,
 * a request id, a JSON access log in a file, and its metrics on; the native proxy and Envoy get the same resources from the same control plane.
 */
import { cases, type LoadCase } from "./cases.ts";
import { residentMb } from "./cpu.ts";
import { benchIdle } from "./idle.ts";
import { load, type Sample } from "./load.ts";
import { benchOpenLoop } from "./open-loop.ts";
import { peerNames, startPeers } from "./peers.ts";
import { median, table } from "./table.ts";
import type { Target } from "./target.ts";
import { verify } from "./verify.ts";

/** What is measured besides the cases, in an own table each. */
export const extras = ["rate-70", "idle-10000"] as const;
export type Extra = (typeof extras)[number];

/** What to measure, and how long. */
export interface HttpBench {
  readonly cases: readonly LoadCase[];
  readonly extras: readonly Extra[];
  /** Of each round. */
  readonly seconds: number;
  /** Measured rounds of each case and peer; the median counts. */
  readonly rounds: number;
}

/** Unmeasured rounds before the first case, in which code is compiled; each later case has one. */
const WARM_UP_ROUNDS_FIRST = 3;

/** Runs the cases and prints their tables. */
export async function benchHttp({ cases: chosen, extras: wanted, seconds, rounds }: HttpBench): Promise<void> {
  const { targets, dir, stop } = await startPeers(peerNames);
  try {
    const rows: string[][] = [];
    for (const [index, each] of chosen.entries()) {
      const peers = targets.filter(({ name }) => name !== "fastify" || isForFastify(each));
      const warmUps = index === 0 ? WARM_UP_ROUNDS_FIRST : 1;
      rows.push(...(await measure(each, peers, { warmUps, seconds, rounds }, dir)));
    }
    if (rows.length > 0) {
      console.log(table(["case", "proxy", "CPU µs/request", "÷ Envoy", "÷ nginx", "requests/s", "p99 ms", "MB"], rows));
    }
    if (wanted.includes("rate-70")) console.log(`\n${await benchOpenLoop(targets, seconds, dir)}`);
    if (wanted.includes("idle-10000")) console.log(`\n${await benchIdle(targets)}`);
  } finally {
    await stop();
  }
}

/** It is plain HTTP/1.1 only, and passes a client's "connection: close" on. */
const isForFastify = ({ protocol, tls, reconnects }: LoadCase): boolean =>
  protocol === undefined && tls === undefined && reconnects !== true;

async function measure(
  each: LoadCase,
  targets: readonly Target[],
  { warmUps, seconds, rounds }: { readonly warmUps: number; readonly seconds: number; readonly rounds: number },
  dir: string,
): Promise<string[][]> {
  for (const target of targets) {
    await verify(target, each);
    // Unmeasured, so that code is compiled and connections are open.
    for (let round = 0; round < warmUps; round++) await load(target, each, seconds, dir);
  }
  const samples = new Map(targets.map(({ name }) => [name, [] as Sample[]]));
  for (let round = 0; round < rounds; round++) {
    for (const target of targets) samples.get(target.name)?.push(await load(target, each, seconds, dir));
  }
  const of = (name: string, key: keyof Sample) => median((samples.get(name) ?? []).map((sample) => sample[key]));
  return targets.map(({ name, pid }) => {
    const ratio = (to: string) => (of(name, "cpuMicros") / of(to, "cpuMicros")).toFixed(2);
    const p99Ms = of(name, "p99Ms");
    return [
      ...[each.name, name, of(name, "cpuMicros").toFixed(1), ratio("envoy"), ratio("nginx")],
      of(name, "requestsPerSecond").toFixed(0),
      ...[Number.isNaN(p99Ms) ? "" : p99Ms.toFixed(2), residentMb(pid).toFixed(0)],
    ];
  });
}

/** Everything that `--case` can name. */
export const caseIds: readonly string[] = [...cases.map(({ id }) => id), ...extras];
