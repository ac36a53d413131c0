import { withClient } from "../client.ts";
import { CliError, exitCode } from "../errors.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import type { Terminal } from "../terminal.ts";

/** Options of `sluice delete`. */
export interface DeleteOptions extends GlobalOptions {
  readonly group: string;
  readonly dryRun?: boolean;
}

/** `sluice delete service|gateway-group NAME`. */
export async function remove(kind: string, name: string, options: DeleteOptions, terminal: Terminal): Promise<number> {
  const { group, output } = options;
  const dryRun = options.dryRun === true;
  const isGroup = /^(gateway-?)?groups?$/.test(kind);
  if (!isGroup && !/^services?$/.test(kind)) {
    throw new CliError(
      `"${kind}" is nothing that can be deleted`,
      "service or gateway-group; a route or an upstream goes with the next apply of its service",
    );
  }
  const { revision } = await withClient<{ readonly revision: bigint }>(options, ({ groups, services }) =>
    isGroup
      ? groups.deleteGatewayGroup({ name, dryRun })
      : services.deleteService({ gatewayGroup: group, name, dryRun }),
  );
  const object = isGroup ? `gateway-group ${name}` : `service ${name} (${group})`;
  await print(terminal, output, { deleted: object, dryRun, revision: Number(revision) }, () =>
    dryRun
      ? `  ${terminal.style("red", "-")} ${object}\nwould be deleted`
      : `  ${terminal.style("red", "-")} ${object}\nDeleted. Revision ${revision}.`,
  );
  return exitCode.ok;
}
