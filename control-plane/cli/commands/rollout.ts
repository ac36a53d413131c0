import { Code, ConnectError } from "@connectrpc/connect";

import { toPlain } from "#proto/plain.ts";
import { type Rollout, RolloutSchema, RolloutState } from "#sluice/admin/v1/rollout_service_pb.ts";

import { withClient } from "../client.ts";
import { exitCode } from "../errors.ts";
import type { GatewaySource } from "../gateway-source.ts";
import type { GlobalOptions } from "../options.ts";
import { progressLines, progressText, reasonLines } from "../rollout-view.ts";
import type { Terminal } from "../terminal.ts";

/** What following a rollout needs. */
export interface FollowOptions extends GlobalOptions {
  readonly waitMs?: number;
  /** Where the user wrote what is rolled out. */
  readonly source?: GatewaySource;
  /** Whether the user's write made the revision; else it is one that was there before. */
  readonly isNew?: boolean;
}

/**
 * Shows how data planes take a revision, until all have answered or the time is up: as a bar that moves on a terminal, as lines elsewhere,
 * and not at all where the output is data.
 *
 * @returns the exit code, and the rollout as data
 */
export async function followRollout(
  revision: bigint,
  options: FollowOptions,
  terminal: Terminal,
): Promise<{ readonly code: number; readonly rollout: unknown }> {
  const progress = new Progress(terminal, options.output === "table");
  let last: Rollout | undefined;
  let isLate = false;
  let isLost = false;
  const unknown = await withClient(options, async ({ rollouts }) => {
    try {
      for await (const { rollout } of rollouts.watchRollout({ revision }, { timeoutMs: options.waitMs ?? 0 })) {
        if (rollout === undefined) continue;
        last = rollout;
        progress.show(rollout);
      }
    } catch (error) {
      if (!(error instanceof ConnectError)) throw error;
      if (error.code === Code.NotFound) return error.rawMessage;
      if (error.code === Code.DeadlineExceeded) isLate = true;
      else if (lost.has(error.code)) isLost = true;
      else throw error;
    }
    return undefined;
  });
  progress.end();
  if (unknown !== undefined) {
    // The control plane began anew behind the write, or others came in between: who waits for what he wrote has no answer.
    const [color, mark] = options.isNew === true ? (["red", "error:"] as const) : (["yellow", "!"] as const);
    terminal.err(`${terminal.styleError(color, mark)} ${unknown}; sluice status shows how data planes stand`);
    return { code: options.isNew === true ? exitCode.late : exitCode.ok, rollout: undefined };
  }
  const rollout = last && toPlain(RolloutSchema, last);
  if (isLost) {
    const what = `revision ${revision} was applied, and the control plane was lost while data planes were taking it`;
    terminal.err(`${terminal.styleError("red", "error:")} ${what}; sluice status shows how they stand once it is back`);
    return { code: exitCode.late, rollout };
  }
  if (last === undefined) return { code: exitCode.late, rollout };
  for (const line of reasonLines(last, options.source)) terminal.err(`${terminal.styleError("red", "✗")} ${line}`);
  if (isLate) {
    const waited = `after ${(options.waitMs ?? 0) / 1000}s not every data plane has answered`;
    terminal.err(`${terminal.styleError("red", "error:")} ${waited}; the rollout goes on, sluice status shows it`);
    return { code: exitCode.late, rollout };
  }
  const code = last.state === RolloutState.COMPLETE ? exitCode.ok : exitCode.refused;
  if (code === exitCode.refused) {
    terminal.err(
      `${terminal.styleError("red", "error:")} revision ${revision} was applied, and refused by data planes`,
    );
  } else if (options.output === "table") {
    const whom =
      last.connectedNodes === 0 ? "no data plane is connected: those that come will get it" : "rollout complete";
    terminal.out(`${terminal.style("green", "✓")} ${whom}`);
  }
  return { code, rollout };
}

/** How a stream ends whose server goes away: none of these is an answer of the service. */
const lost: ReadonlySet<Code> = new Set([Code.Aborted, Code.Unavailable, Code.Canceled]);

/** Lines are no more frequent than this where they can't be overwritten. */
const LINE_MS = 1_000;

class Progress {
  readonly #terminal: Terminal;
  readonly #isShown: boolean;
  #lines = 0;
  #text = "";
  #shownMs = Number.NEGATIVE_INFINITY;
  #pending: Rollout | undefined;

  constructor(terminal: Terminal, isShown: boolean) {
    this.#terminal = terminal;
    this.#isShown = isShown;
  }

  show(rollout: Rollout): void {
    if (!this.#isShown) return;
    if (this.#terminal.interactive) this.#redraw(rollout);
    else if (performance.now() - this.#shownMs < LINE_MS) this.#pending = rollout;
    else this.#print(rollout);
  }

  /** Prints what was not shown yet. */
  end(): void {
    if (this.#pending !== undefined) this.#print(this.#pending);
  }

  #redraw(rollout: Rollout): void {
    const lines = progressLines(rollout, this.#terminal.style);
    // Up to where the lines before begin, and each of them anew.
    const up = this.#lines > 0 ? `\u001b[${this.#lines}A` : "";
    process.stdout.write(up + lines.map((line) => `\u001b[2K${line}\n`).join(""));
    if (lines.length < this.#lines) process.stdout.write("\u001b[0J");
    this.#lines = lines.length;
  }

  #print(rollout: Rollout): void {
    this.#pending = undefined;
    const text = progressText(rollout).join("\n");
    if (text === "" || text === this.#text) return;
    this.#text = text;
    this.#shownMs = performance.now();
    this.#terminal.out(text);
  }
}
