import type { LoadCase } from "./cases.ts";
import { cpuSeconds } from "./cpu.ts";
import { h2load } from "./h2load.ts";
import type { Counted, Target } from "./target.ts";
import { wrkLoad } from "./wrk.ts";

/** What one round of load showed. */
export interface Sample extends Counted {
  /** CPU time of the whole process for each request, in µs. */
  readonly cpuMicros: number;
}

/** Loads a target for so many seconds. `dir` takes what the generator reads. Throws if anything but good answers came. */
export async function load(target: Target, load: LoadCase, seconds: number, dir: string): Promise<Sample> {
  const before = cpuSeconds(target.pid);
  const generate = load.protocol === undefined ? wrkLoad : h2load;
  const counted = await generate(target, load, seconds, dir);
  return { ...counted, cpuMicros: ((cpuSeconds(target.pid) - before) / counted.requests) * 1e6 };
}
