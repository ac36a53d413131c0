import { readdirSync, readFileSync } from "node:fs";

/** Clock ticks a second in /proc (USER_HZ, 100 on every Linux that we run on). */
const TICKS_PER_SECOND = 100;

interface Process {
  readonly pid: number;
  readonly parent: number;
  readonly cpuTicks: number;
}

/** CPU time, user and system, that a process and its living descendants have used so far, in seconds; from the operating system. */
export const cpuSeconds = (pid: number): number =>
  family(pid).reduce((sum, { cpuTicks }) => sum + cpuTicks, 0) / TICKS_PER_SECOND;

/** Resident memory of a process and its living descendants, in MB. What they share, as the program itself, counts once for each. */
export const residentMb = (pid: number): number =>
  family(pid).reduce((sum, each) => sum + statusKb(each.pid, "VmRSS"), 0) / 1024;

/** A process and its living descendants: nginx's master does nothing but start the workers. */
function family(pid: number): Process[] {
  const all = new Map<number, Process>();
  for (const name of readdirSync("/proc")) {
    const process = /^\d+$/.test(name) ? readProcess(Number(name)) : undefined;
    if (process !== undefined) all.set(process.pid, process);
  }
  const descends = (process: Process | undefined): boolean =>
    process !== undefined && (process.pid === pid || descends(all.get(process.parent)));
  return [...all.values()].filter(descends);
}

/** Undefined: it ended meanwhile. */
function readProcess(pid: number): Process | undefined {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, "utf8");
    // The command, in parentheses, may hold anything; the fields after it are numbers.
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    return { pid, parent: Number(fields[1]), cpuTicks: Number(fields[11]) + Number(fields[12]) };
  } catch {
    return undefined;
  }
}

/** The most resident memory that a process ever had, in MB: what a limit has to leave room for. */
export const peakMb = (pid: number): number => statusKb(pid, "VmHWM") / 1024;

function statusKb(pid: number, field: "VmRSS" | "VmHWM"): number {
  try {
    return Number(new RegExp(`${field}:\\s+(\\d+)`).exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1] ?? 0);
  } catch {
    return 0;
  }
}
