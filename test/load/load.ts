import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { run } from "../support/processes.ts";
import { wrk } from "../support/tools.ts";
import { type LoadCase, wrkScript } from "./cases.ts";
import { cpuSeconds } from "./cpu.ts";

/** What is loaded: a port, and the process whose CPU time counts. */
export interface Target {
  readonly name: string;
  readonly port: number;
  readonly pid: number;
}

/** What one round of load showed. */
export interface Sample {
  readonly requestsPerSecond: number;
  /** CPU time of the whole process for each request, in µs. */
  readonly cpuMicros: number;
  readonly p99Ms: number;
}

/** Loads a target for so many seconds. `dir` takes wrk's script. Throws if anything but 2xx is answered. */
export async function load(target: Target, load: LoadCase, seconds: number, dir: string): Promise<Sample> {
  const tool = await wrk();
  const script = join(dir, `${load.id}.lua`);
  await writeFile(script, wrkScript(load));
  const before = cpuSeconds(target.pid);
  const args = ["-t1", `-c${load.connections}`, `-d${seconds}s`, "--latency", "-s", script];
  const { stdout, stderr } = await run(tool.path, [...args, `http://127.0.0.1:${target.port}/`], { env: tool.env });
  const requests = Number(/(\d+) requests in/.exec(stdout)?.[1] ?? 0);
  if (requests === 0 || /Non-2xx/.test(stdout)) throw new Error(`${target.name}: ${stdout}${stderr}`);
  const [, p99, unit] = /99%\s+([\d.]+)(us|ms|s)/.exec(stdout) ?? [];
  return {
    requestsPerSecond: Number(/Requests\/sec:\s+([\d.]+)/.exec(stdout)?.[1]),
    cpuMicros: ((cpuSeconds(target.pid) - before) / requests) * 1e6,
    p99Ms: Number(p99) * ({ us: 0.001, ms: 1, s: 1000 }[unit ?? ""] ?? Number.NaN),
  };
}
