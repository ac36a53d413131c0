/** Runs the real `sluice`, as a user would. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

const launcher = join(import.meta.dirname, "../../control-plane/cli/sluice");

/** Long enough for a start of several programs on a machine that does many other things. */
const WAIT_MS_MAX = 180_000;

/** What a command printed, and its exit code. */
export interface Finished {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** An environment without the developer's own settings. */
function environment(extra: Readonly<Record<string, string>>): NodeJS.ProcessEnv {
  const bare = Object.entries(process.env).filter(
    ([name]) => !/^(SLUICE_|NO_COLOR|FORCE_COLOR|XDG_CONFIG_HOME)/.test(name),
  );
  return { ...Object.fromEntries(bare), XDG_CONFIG_HOME: "/nonexistent", ...extra };
}

/** Runs a command to its end. */
export async function sluice(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Finished> {
  const child = spawn(launcher, args, { env: environment(env), stdio: ["ignore", "pipe", "pipe"] });
  const output = collect(child);
  const code = await new Promise<number | null>((resolve) => child.on("close", resolve));
  return { code, stdout: output.stdout(), stderr: output.stderr() };
}

/** A `sluice up` that runs. */
export interface RunningUp {
  readonly process: ChildProcess;
  /** Resolves with all output once it has the text so many times; fails with the output if that takes too long. */
  waitFor(text: RegExp | string, times?: number): Promise<string>;
  /** What it printed so far, both streams together. */
  output(): string;
  /** Sends SIGTERM; the exit code. */
  stop(): Promise<number | null>;
  readonly exited: Promise<number | null>;
}

/** Starts `sluice up` with these flags. */
export function startUp(args: readonly string[], env: Readonly<Record<string, string>> = {}): RunningUp {
  const child = spawn(launcher, ["up", ...args], { env: environment(env), stdio: ["ignore", "pipe", "pipe"] });
  const { both } = collect(child);
  const exited = new Promise<number | null>((resolve) => child.on("close", resolve));
  return {
    process: child,
    exited,
    output: both,
    waitFor: async (text, times = 1) => {
      const has = () =>
        (typeof text === "string"
          ? both().split(text).length - 1
          : [...both().matchAll(new RegExp(text, "g"))].length) >= times;
      await until(has, () => `${String(text)} in:\n${both()}`);
      return both();
    },
    stop: () => {
      child.kill("SIGTERM");
      return exited;
    },
  };
}

function collect({ stdout, stderr }: ChildProcess) {
  let [out, err, all] = ["", "", ""];
  stdout?.setEncoding("utf8").on("data", (text: string) => {
    out += text;
    all += text;
  });
  stderr?.setEncoding("utf8").on("data", (text: string) => {
    err += text;
    all += text;
  });
  return { stdout: () => out, stderr: () => err, both: () => all };
}

/** Waits until a condition holds. */
export async function until(condition: () => boolean | Promise<boolean>, what: () => string): Promise<void> {
  const endMs = performance.now() + WAIT_MS_MAX;
  while (!(await condition())) {
    if (performance.now() > endMs) throw new Error(`waited for ${what()}`);
    await sleep(20);
  }
}

/** A directory that is gone after the test file. */
export function temporaryDirectory(): { readonly path: string; remove(): void } {
  const path = mkdtempSync(join(tmpdir(), "sluice-cli-"));
  return { path, remove: () => rmSync(path, { recursive: true, force: true }) };
}

/** The programs that `up` started: all, or those of one command (Linux). */
export function childrenOf({ process: { pid } }: RunningUp, command?: string): number[] {
  const children = readFileSync(`/proc/${pid}/task/${pid}/children`, "utf8").split(" ").filter(Boolean).map(Number);
  if (command === undefined) return children;
  return children.filter((child) => readFileSync(`/proc/${child}/cmdline`, "utf8").split("\0").includes(command));
}
