/** The native proxy of this tree beside that of another revision. */
import { execFileSync } from "node:child_process";
import { symlink } from "node:fs/promises";
import { constants } from "node:os";
import { join } from "node:path";

import { temporaryDir } from "../support/gateway.ts";
import { root, run } from "../support/processes.ts";
import type { LoadCase } from "./cases.ts";
import { instructionsOf } from "./instructions.ts";
import { load } from "./load.ts";
import { startPeers, startTree } from "./peers.ts";
import type { Target } from "./target.ts";
import { median, table } from "./table.ts";

/** Measurements of each case, alternating; more pairs see smaller differences. */
const PAIRS = 7;
/** Rounds of load before the first pair, in which code is compiled. */
const WARM_UP_ROUNDS = 3;
/** Two runs of the same program differ by so much, whatever their pairs say. */
const SAME_MAX = 0.03;

/**
 * Checks `base` out into a worktree of its own and measures both in turns. Returns whether a case costs more than in `base`, by more than pairs
 * differ among themselves.
 */
export async function compareWithBase(base: string, cases: readonly LoadCase[], seconds: number): Promise<boolean> {
  const dir = await temporaryDir();
  const tree = join(dir.path, "base");
  const revision = git("rev-parse", "--verify", `${base}^{commit}`);
  git("worktree", "add", "--quiet", "--detach", tree, revision);
  const removeTree = () => git("worktree", "remove", "--force", tree);
  // A signal ends the process past every finally; the repository must not keep the worktree.
  const onSignal = (signal: NodeJS.Signals) => {
    removeTree();
    process.exit(128 + constants.signals[signal]);
  };
  for (const signal of SIGNALS) process.once(signal, onSignal);
  try {
    await symlink(join(root, "node_modules"), join(tree, "node_modules"));
    const generated = await run(process.execPath, ["proto/generate.ts"], { cwd: tree });
    if (generated.code !== 0) throw new Error(generated.stderr);
    return await measure(tree, cases, seconds);
  } finally {
    for (const signal of SIGNALS) process.removeListener(signal, onSignal);
    removeTree();
    await dir.remove();
  }
}

const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

const git = (...args: string[]): string => execFileSync("git", args, { cwd: root, encoding: "utf8" }).trim();

async function measure(tree: string, cases: readonly LoadCase[], seconds: number): Promise<boolean> {
  const { upstream, dir, stop } = await startPeers([]);
  const stops = [stop];
  try {
    const before = await startTree("base", tree, upstream, dir);
    stops.push(() => before.stop());
    const after = await startTree("this", root, upstream, dir);
    stops.push(() => after.stop());
    const { unit, cost } = await yardstick(after.target.pid);
    const rows: string[][] = [];
    let slower = false;
    for (const each of cases) {
      const verdict = await pairs(before.target, after.target, (target) => cost(target, each, seconds, dir));
      rows.push([each.name, ...verdict.cells]);
      slower ||= verdict.slower;
    }
    console.log(table(["case", `base ${unit}`, `this ${unit}`, "this ÷ base", "noise", "verdict"], rows));
    return slower;
  } finally {
    for (const end of stops.reverse()) await end();
  }
}

/** What one request of a case costs a target. */
type Cost = (target: Target, each: LoadCase, seconds: number, dir: string) => Promise<number>;

/**
 * Instructions where they can be counted: they hold still to a few hundredths where CPU time differs by a third, with whoever else is on the machine. `pid`: a
 * process to try it on.
 */
async function yardstick(pid: number): Promise<{ readonly unit: string; readonly cost: Cost }> {
  try {
    await instructionsOf(pid, async () => {});
  } catch (error) {
    console.error(`CPU time is compared, which needs a quiet machine: ${String(error)}`);
    return { unit: "µs", cost: async (...args) => (await load(...args)).cpuMicros };
  }
  const cost: Cost = async (target, ...rest) => {
    let requests = 0;
    const count = await instructionsOf(target.pid, async () => ({ requests } = await load(target, ...rest)));
    return count / requests / 1000;
  };
  return { unit: "k instructions", cost };
}

async function pairs(before: Target, after: Target, cost: (target: Target) => Promise<number>) {
  const costs: { base: number; now: number }[] = [];
  for (let i = -WARM_UP_ROUNDS; i < PAIRS; i++) {
    // Who goes first changes, so that a machine that gets slower or faster meanwhile favours neither.
    const order = i % 2 === 0 ? [before, after] : [after, before];
    const sample = new Map<Target, number>();
    for (const target of order) sample.set(target, await cost(target));
    if (i >= 0) costs.push({ base: sample.get(before) ?? Number.NaN, now: sample.get(after) ?? Number.NaN });
  }
  return judge(costs);
}

/** What pairs of measurements say: how the medians compare, and whether by more than the pairs scatter. */
export function judge(costs: readonly { base: number; now: number }[]): { cells: string[]; slower: boolean } {
  const ratios = costs.map(({ base, now }) => now / base);
  const ratio = median(ratios);
  // The median distance from the median, which one pair that something else disturbed doesn't move.
  const noise = Math.max(SAME_MAX, 2 * median(ratios.map((each) => Math.abs(each - ratio))));
  const slower = ratio > 1 + noise;
  const cells = [
    median(costs.map(({ base }) => base)).toFixed(1),
    median(costs.map(({ now }) => now)).toFixed(1),
    ratio.toFixed(3),
    `±${noise.toFixed(3)}`,
    slower ? "SLOWER" : ratio < 1 - noise ? "faster" : "same",
  ];
  return { cells, slower };
}
