import { CommanderError } from "commander";

import { CliError, exitCode, formatProblem, ProblemsError } from "./errors.ts";
import { createProgram } from "./program.ts";
import { printable, processTerminal, type Terminal } from "./terminal.ts";

/** Runs a command line; the answer is the exit code. `main`: the file to start the CLI's own programs with. */
export async function run(args: readonly string[], main: string): Promise<number> {
  const terminal = processTerminal();
  let code: number = exitCode.ok;
  let isWritten = true;
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    // `sluice get | head` is no error.
    if (error.code === "EPIPE") process.exit(exitCode.ok);
    // A command ends with that, also where it has ended already; a program goes on with what it is there for.
    process.exitCode = exitCode.error;
    if (isWritten)
      terminal.err(`${terminal.styleError("red", "error:")} what it prints can't be written: ${error.message}`);
    isWritten = false;
  });
  // Nobody could be told.
  process.stderr.on("error", () => {});
  try {
    const program = createProgram({ terminal, main, exit: (value) => void (code = value) });
    await program.parseAsync(args, { from: "user" });
    return isWritten ? code : exitCode.error;
  } catch (error) {
    return report(error, terminal);
  }
}

function report(error: unknown, terminal: Terminal): number {
  // commander has printed it already, and --help is none.
  if (error instanceof CommanderError) return error.exitCode === 0 ? exitCode.ok : exitCode.error;
  if (!(error instanceof CliError)) throw error;
  if (error instanceof ProblemsError) {
    for (const problem of error.problems) terminal.err(printable(formatProblem(problem)));
  }
  terminal.err(`${terminal.styleError("red", "error:")} ${printable(error.message)}`);
  for (const fix of error.fix) terminal.err(`  ${terminal.styleError("dim", "→")} ${printable(fix)}`);
  return exitCode.error;
}
