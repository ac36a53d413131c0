import { setTimeout as sleep } from "node:timers/promises";

import { Code, ConnectError } from "@connectrpc/connect";

import { type AdminClient, problemsAt } from "../client.ts";
import { diffView } from "../diff-view.ts";
import { warnOfExpiry } from "../commands/certificates.ts";
import { CliError, formatProblem, ProblemsError } from "../errors.ts";
import { type GatewayText, readGateway, readTexts } from "../gateway-file.ts";
import { printable, type Terminal } from "../terminal.ts";
import { applyFile, type OwnedObjects } from "./config-apply.ts";
import { watchFile } from "./watch-file.ts";

const RETRY_MS_MIN = 100;
const RETRY_MS_MAX = 5_000;

/** What `up --config` needs to keep the store like the file. */
export interface ConfigOptions {
  readonly path: string;
  readonly client: AdminClient;
  readonly owned: OwnedObjects;
  readonly terminal: Terminal;
  readonly signal: AbortSignal;
}

/**
 * Applies the file now, and again whenever it changes until `signal`. What is wrong with it is printed and changes nothing. Throws a
 * CliError only if there is nothing to read at the start, which is most likely a misspelt path.
 */
export async function keepApplying(options: ConfigOptions): Promise<void> {
  const { path, terminal, signal } = options;
  const named = new Map<string, string>();
  const first = await readTexts(path);
  if (!first.ok) throw new CliError(`--config ${first.problems.map(({ message }) => message).join("; ")}`);
  await apply(options, first.texts, named);
  if (signal.aborted) return;
  const watch = watchFile(path, first.texts, {
    named: () => named,
    // Whatever it is, as a data directory that can't be written: the programs go on with what they have.
    changed: (texts) =>
      apply(options, texts, named).catch((error: unknown) =>
        terminal.err(`${terminal.styleError("red", "✗")} ${path}: not applied: ${printable(String(error))}`),
      ),
    unreadable: (problems) => {
      for (const problem of problems)
        terminal.err(`${warning(terminal)} ${formatProblem(problem)}; the last content stays`);
    },
  });
  signal.addEventListener("abort", () => void watch.close(), { once: true });
}

const warning = (terminal: Terminal) => terminal.styleError("yellow", "!");

/** Applies a content, or prints why not. While no control plane answers, it waits, and goes on with what the file says then. */
async function apply(options: ConfigOptions, texts: readonly GatewayText[], named: Map<string, string>): Promise<void> {
  const { path, client, owned, terminal, signal } = options;
  let waitMs = RETRY_MS_MIN;
  let latest = texts;
  while (!signal.aborted) {
    try {
      await applyOnce(latest, named, { client, owned, path, terminal });
      return;
    } catch (error) {
      const away =
        error instanceof ConnectError && [Code.Unavailable, Code.DeadlineExceeded, Code.Canceled].includes(error.code);
      if (!away) {
        printFailure(error, path, terminal);
        return;
      }
      await sleep(waitMs, undefined, { signal }).catch(() => {});
      waitMs = Math.min(waitMs * 2, RETRY_MS_MAX);
      const read = await readTexts(path);
      if (read.ok) latest = read.texts;
    }
  }
}

async function applyOnce(
  texts: readonly GatewayText[],
  named: Map<string, string>,
  { client, owned, path, terminal }: Omit<ConfigOptions, "signal">,
): Promise<void> {
  const unchanged = `the gateway stays as it was until ${path} is put right`;
  named.clear();
  const read = readGateway(texts, (file, signature) => named.set(file, signature));
  if (!read.ok) throw new ProblemsError(read.problems, unchanged);
  warnOfExpiry(read.gateway, terminal);
  try {
    const response = await applyFile(client, read.gateway, owned);
    if (response.changes.length === 0) {
      terminal.out(`${terminal.style("green", "✓")} ${path}: nothing to change (revision ${response.revision})`);
      return;
    }
    terminal.out(`${terminal.style("green", "✓")} ${path} applied (revision ${response.revision})`);
    terminal.out(diffView({ ...response, source: read.source, verb: "Applied" }, terminal.style));
  } catch (error) {
    throw problemsAt(error, read.source, unchanged) ?? error;
  }
}

function printFailure(error: unknown, path: string, terminal: Terminal): void {
  if (error instanceof ProblemsError) {
    for (const problem of error.problems) terminal.err(printable(formatProblem(problem)));
    terminal.err(`${terminal.styleError("red", "✗")} ${path}: ${error.message}`);
  } else if (error instanceof ConnectError) {
    terminal.err(`${terminal.styleError("red", "✗")} ${path}: not applied: ${printable(error.rawMessage)}`);
  } else throw error;
}
