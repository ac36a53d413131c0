import { toPlain } from "#proto/plain.ts";
import { ApplyResponseSchema } from "#sluice/admin/v1/gateway_service_pb.ts";
import { problemsAt, withClient } from "../client.ts";
import { diffView } from "../diff-view.ts";
import { exitCode, ProblemsError } from "../errors.ts";
import { readGatewayFile } from "../gateway-file.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import type { Terminal } from "../terminal.ts";
import { warnOfExpiry } from "./certificates.ts";

/** Options of `apply` and `diff`. */
export interface ApplyOptions extends GlobalOptions {
  readonly file: string;
  readonly prune?: boolean;
  readonly dryRun?: boolean;
}

/** `sluice apply`: writes every object of the files, or none, and shows what changed. */
export async function apply(options: ApplyOptions, terminal: Terminal): Promise<number> {
  await write(options, options.dryRun === true, terminal);
  return exitCode.ok;
}

/** `sluice diff`: shows what `apply` would change. */
export async function diff(options: ApplyOptions, terminal: Terminal): Promise<number> {
  return (await write(options, true, terminal)) > 0 ? exitCode.changes : exitCode.ok;
}

/** The number of changes. */
async function write(options: ApplyOptions, dryRun: boolean, terminal: Terminal): Promise<number> {
  const nothing = dryRun ? "nothing would be applied" : "nothing was applied";
  const read = await readGatewayFile(options.file);
  if (!read.ok) throw new ProblemsError(read.problems, nothing);
  warnOfExpiry(read.gateway, terminal);
  const response = await withClient(options, async ({ gateways }) => {
    try {
      return await gateways.apply({ gateway: read.gateway, prune: options.prune === true, dryRun });
    } catch (error) {
      throw problemsAt(error, read.source, nothing) ?? error;
    }
  });
  const view = { ...response, source: read.source, verb: dryRun ? "Plan" : "Applied" } as const;
  await print(terminal, options.output, toPlain(ApplyResponseSchema, response), () => {
    const shown = diffView(view, terminal.style);
    return dryRun || response.changes.length === 0 ? shown : `${shown} Revision ${response.revision}.`;
  });
  return response.changes.length;
}
