import { toPlain } from "#proto/plain.ts";
import { type ApplyResponse, ApplyResponseSchema } from "#sluice/admin/v1/gateway_service_pb.ts";
import { problemsAt, withClient } from "../client.ts";
import { diffView } from "../diff-view.ts";
import { exitCode, ProblemsError } from "../errors.ts";
import { readGatewayFile } from "../gateway-file.ts";
import type { GatewaySource } from "../gateway-source.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import type { Terminal } from "../terminal.ts";
import { warnOfExpiry } from "./certificates.ts";

/** Options of `apply` and `diff`. */
export interface ApplyOptions extends GlobalOptions {
  readonly file: string;
  readonly prune?: boolean;
  readonly dryRun?: boolean;
  readonly wait?: boolean;
  /** How long `wait` waits, in milliseconds. */
  readonly waitMs?: number;
}

/** `sluice apply`: writes every object of the files, or none, and shows what changed. */
export async function apply(options: ApplyOptions, terminal: Terminal): Promise<number> {
  if (options.wait !== true || options.dryRun === true) {
    await write(options, options.dryRun === true, terminal);
    return exitCode.ok;
  }
  const { followRollout } = await import("./rollout.ts");
  const { response, source } = await send(options, false, terminal);
  // With -o json, one document tells both.
  if (options.output === "table") await show(options, response, source, false, terminal);
  // Nothing was ever written: there is nothing to roll out.
  if (response.revision === 0n) return exitCode.ok;
  const isNew = response.changes.length > 0;
  const { code, rollout } = await followRollout(response.revision, { ...options, source, isNew }, terminal);
  if (options.output !== "table") {
    await print(terminal, options.output, { ...plainOf(response), rollout }, () => "");
  }
  return code;
}

/** `sluice diff`: shows what `apply` would change. */
export async function diff(options: ApplyOptions, terminal: Terminal): Promise<number> {
  return (await write(options, true, terminal)) > 0 ? exitCode.changes : exitCode.ok;
}

/** The number of changes. */
async function write(options: ApplyOptions, dryRun: boolean, terminal: Terminal): Promise<number> {
  const { response, source } = await send(options, dryRun, terminal);
  await show(options, response, source, dryRun, terminal);
  return response.changes.length;
}

async function send(options: ApplyOptions, dryRun: boolean, terminal: Terminal) {
  const nothing = dryRun ? "nothing would be applied" : "nothing was applied";
  const read = await readGatewayFile(options.file);
  if (!read.ok) throw new ProblemsError(read.problems, nothing);
  const { gateway, source } = read;
  warnOfExpiry(gateway, terminal);
  const response = await withClient(options, async ({ gateways }) => {
    try {
      return await gateways.apply({ gateway, prune: options.prune === true, dryRun });
    } catch (error) {
      throw problemsAt(error, source, nothing) ?? error;
    }
  });
  return { response, source };
}

const plainOf = (response: ApplyResponse) => toPlain(ApplyResponseSchema, response);

async function show(
  { output }: ApplyOptions,
  response: ApplyResponse,
  source: GatewaySource,
  dryRun: boolean,
  terminal: Terminal,
): Promise<void> {
  const view = { ...response, source, verb: dryRun ? "Plan" : "Applied" } as const;
  await print(terminal, output, plainOf(response), () => {
    const shown = diffView(view, terminal.style);
    return dryRun || response.changes.length === 0 ? shown : `${shown} Revision ${response.revision}.`;
  });
}
