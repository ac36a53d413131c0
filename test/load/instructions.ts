import { spawn } from "node:child_process";
import { once } from "node:events";

/**
 * Counts the instructions that a process executes, in user space and in the kernel, all of its threads together, while something happens. They
 * hold still where CPU time depends on who else is on the machine.
 * @throws Error where `perf` is missing or may not look at the process
 */
export async function instructionsOf(pid: number, during: () => Promise<unknown>): Promise<number> {
  const perf = spawn("perf", ["stat", "-x", ",", "-e", "instructions:u,instructions:k", "-p", String(pid)], {
    stdio: ["ignore", "ignore", "pipe"],
  });
  let printed = "";
  perf.stderr.setEncoding("utf8").on("data", (text: string) => (printed += text));
  const gone = once(perf, "close");
  await Promise.race([once(perf, "spawn"), gone]);
  // It attaches to the threads before it is of use, and says nothing of that.
  await new Promise((resolve) => setTimeout(resolve, 500));
  await during();
  perf.kill("SIGINT");
  await gone;
  const counts = [...printed.matchAll(/^(\d+),[^,]*,instructions/gm)].map(([, count]) => Number(count));
  if (counts.length !== 2) throw new Error(`perf counts no instructions here: ${printed}`);
  return counts.reduce((sum, count) => sum + count, 0);
}
