import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";

export const root = join(import.meta.dirname, "../..");

/** The `sluice` command, as operators run it. */
export const sluicePath = join(root, "control-plane/cli/sluice");

/** What it may take to end when told to; a control plane that is killed instead leaves more behind. */
const STOP_MS_MAX = 60_000;

/** A program under test, with all that it printed. */
export class Program {
  readonly child: ChildProcess;
  readonly name: string;
  stdout = "";
  stderr = "";

  /** @param options.stdin "pipe" for a program that is told what to do; default: there is nothing to read */
  constructor(
    path: string,
    args: readonly string[],
    options: { env?: Record<string, string>; cwd?: string; stdin?: "pipe" | "ignore" } = {},
  ) {
    this.name = path.split("/").at(-1) ?? path;
    this.child = spawn(path, args, {
      cwd: options.cwd,
      env: { ...process.env, NO_COLOR: "1", ...options.env },
      stdio: [options.stdin ?? "ignore", "pipe", "pipe"],
    });
    this.child.stdout?.setEncoding("utf8").on("data", (text: string) => (this.stdout += text));
    this.child.stderr?.setEncoding("utf8").on("data", (text: string) => (this.stderr += text));
    running.add(this);
    this.child.once("exit", () => running.delete(this));
    this.child.once("error", (error) => {
      this.stderr += String(error);
      running.delete(this);
    });
  }

  get pid(): number {
    if (this.child.pid === undefined) throw new Error(`${this.name} did not start: ${this.stderr}`);
    return this.child.pid;
  }

  get exited(): boolean {
    return this.child.exitCode !== null || this.child.signalCode !== null;
  }

  /** The exit code, when it ends by itself; null after a signal. */
  async exit(): Promise<number | null> {
    if (!this.exited) await once(this.child, "exit");
    return this.child.exitCode;
  }

  /** Stops it and waits until it is gone. */
  async stop(signal: NodeJS.Signals = "SIGTERM"): Promise<void> {
    if (this.exited) return;
    const gone = once(this.child, "exit");
    this.child.kill(signal);
    const force = setTimeout(() => this.child.kill("SIGKILL"), STOP_MS_MAX);
    await gone;
    clearTimeout(force);
  }
}

const running = new Set<Program>();

// A test process that ends early leaves nothing behind.
process.once("exit", () => {
  for (const program of running) program.child.kill("SIGKILL");
});

/** Runs a command to its end. */
export async function run(
  path: string,
  args: readonly string[],
  options: { env?: Record<string, string>; cwd?: string } = {},
): Promise<{ code: number | null; stdout: string; stderr: string }> {
  const program = new Program(path, args, options);
  await once(program.child, "close");
  return { code: program.child.exitCode, stdout: program.stdout, stderr: program.stderr };
}
