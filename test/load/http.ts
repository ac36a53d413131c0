/**
 * CPU per proxied request: the native proxy beside Envoy, nginx and haproxy, in one run. Each has one worker, 1,000 routes, a request id, a JSON
 * access log in a file, and its metrics on; the native proxy and Envoy get the same resources from the same control plane.
 */
import type { LoadCase } from "./cases.ts";
import { residentMb } from "./cpu.ts";
import { load, type Sample } from "./load.ts";
import { peerNames, startPeers } from "./peers.ts";
import { median, table } from "./table.ts";

const ROUNDS = 3;

/** Runs the cases and prints their table. `seconds` is the length of each round of a case and peer. */
export async function benchHttp(cases: readonly LoadCase[], seconds: number): Promise<void> {
  const { targets, dir, stop } = await startPeers(peerNames);
  try {
    const rows: string[][] = [];
    for (const each of cases) {
      // Once unmeasured, so that code is compiled and connections are open.
      for (const target of targets) await load(target, each, seconds, dir);
      const samples = new Map(targets.map(({ name }) => [name, [] as Sample[]]));
      for (let round = 0; round < ROUNDS; round++) {
        for (const target of targets) samples.get(target.name)?.push(await load(target, each, seconds, dir));
      }
      const of = (name: string, key: keyof Sample) => median((samples.get(name) ?? []).map((sample) => sample[key]));
      for (const { name, pid } of targets) {
        const ratio = (to: string) => (of(name, "cpuMicros") / of(to, "cpuMicros")).toFixed(2);
        rows.push([
          ...[each.name, name, of(name, "cpuMicros").toFixed(1), ratio("envoy"), ratio("nginx")],
          ...[of(name, "requestsPerSecond").toFixed(0), of(name, "p99Ms").toFixed(2), residentMb(pid).toFixed(0)],
        ]);
      }
    }
    console.log(table(["case", "proxy", "CPU µs/request", "÷ Envoy", "÷ nginx", "requests/s", "p99 ms", "MB"], rows));
  } finally {
    await stop();
  }
}
