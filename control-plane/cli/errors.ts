import type { FileProblem } from "./yaml/tree.ts";

/** Exit codes, the same for every command. */
export const exitCode = {
  ok: 0,
  error: 1,
  /** `diff`: something would change; `discovery problems`: there are some. */
  changes: 2,
  /** `apply --wait`: it was applied, and data planes refused it. */
  refused: 3,
  /** `apply --wait`: it was applied, and some data planes had not accepted it in time, or nothing is known of that. */
  late: 4,
} as const;

/** What a user can do something about: it is printed without a stack. */
export class CliError extends Error {
  /** How to put it right, one suggestion a line. */
  readonly fix: readonly string[];

  constructor(what: string, ...fix: readonly string[]) {
    super(what);
    this.name = "CliError";
    this.fix = fix;
  }
}

/** Everything that is wrong with what a user wrote. */
export class ProblemsError extends CliError {
  readonly problems: readonly FileProblem[];

  /** `consequence`: what did not happen ("nothing was applied"). */
  constructor(problems: readonly FileProblem[], consequence: string) {
    super(`${problems.length === 1 ? "1 problem" : `${problems.length} problems`}; ${consequence}`);
    this.problems = problems;
  }
}

/** A problem as compilers print them, so that editors jump to it: "gateway.yaml:41:13: services[pay].hosts: must be a list". */
export function formatProblem({ position, field, message }: FileProblem): string {
  const where = position === undefined ? "" : `${position.file}:${position.line}:${position.column}: `;
  return `${where}${field === undefined || field === "" ? "" : `${field}: `}${message}`;
}
