import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks a second in /proc (USER_HZ, 100 on every Linux that we run on). */
const TICKS_PER_SECOND = 100;

/** CPU time, user and system, that a process and its living descendants have used so far, in seconds; from the operating system. */
export function cpuSeconds(pid: number): number {
  const parents = new Map<number, number>();
  const ticks = new Map<number, number>();
  for (const name of readdirSync("/proc")) {
    if (!/^\d+$/.test(name)) continue;
    try {
      const stat = readFileSync(`/proc/${name}/stat`, "utf8");
      // The command, in parentheses, may hold anything; the fields after it are numbers.
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      parents.set(Number(name), Number(fields[1]));
      ticks.set(Number(name), Number(fields[11]) + Number(fields[12]));
    } catch {
      // It ended meanwhile.
    }
  }
  let total = 0;
  for (const [process, used] of ticks) {
    for (let at: number | undefined = process; at !== undefined && at > 1; at = parents.get(at)) {
      if (at === pid) {
        total += used;
        break;
      }
    }
  }
  return total / TICKS_PER_SECOND;
}

/** Resident memory of one process, in MB. */
export function residentMb(pid: number): number {
  const status = readFileSync(`/proc/${pid}/status`, "utf8");
  return Number(/VmRSS:\s+(\d+)/.exec(status)?.[1] ?? 0) / 1024;
}
