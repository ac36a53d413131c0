import { type AdminClient, withClient } from "../client.ts";
import { CliError, exitCode } from "../errors.ts";
import { kindNamed, kinds, type KnownKind } from "../kinds.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import type { Terminal } from "../terminal.ts";
import { alternatives } from "../yaml/spelling.ts";

/** Options of `sluice delete`. */
export interface DeleteOptions extends GlobalOptions {
  readonly group: string;
  readonly dryRun?: boolean;
}

/** What names the object to delete. */
interface DeleteRequest {
  readonly gatewayGroup: string;
  readonly name: string;
  readonly dryRun: boolean;
}

type Delete = (client: AdminClient, request: DeleteRequest) => Promise<{ readonly revision: bigint }>;

// A Record, so that a new kind does not compile until it can be deleted.
const deletes: Record<KnownKind["kind"], Delete> = {
  gatewayGroup: ({ groups }, { name, dryRun }) => groups.deleteGatewayGroup({ name, dryRun }),
  service: ({ services }, request) => services.deleteService(request),
  registry: ({ registries }, request) => registries.deleteRegistry(request),
  certificate: ({ certificates }, request) => certificates.deleteCertificate(request),
  caCertificate: ({ caCertificates }, request) => caCertificates.deleteCaCertificate(request),
};

/** `sluice delete KIND NAME`. */
export async function remove(word: string, name: string, options: DeleteOptions, terminal: Terminal): Promise<number> {
  const { group, output } = options;
  const dryRun = options.dryRun === true;
  const kind = kindNamed(word);
  if (kind === undefined) {
    const nouns = alternatives(kinds.map(({ noun }) => noun));
    throw new CliError(
      `"${word}" is nothing that can be deleted`,
      `${nouns}; a route or an upstream goes with the next apply of its service`,
    );
  }
  const { revision } = await withClient(options, (client) =>
    deletes[kind.kind](client, { gatewayGroup: group, name, dryRun }),
  );
  const object = kind.kind === "gatewayGroup" ? `${kind.noun} ${name}` : `${kind.noun} ${name} (${group})`;
  await print(terminal, output, { deleted: object, dryRun, revision: Number(revision) }, () =>
    dryRun
      ? `  ${terminal.style("red", "-")} ${object}\nwould be deleted`
      : `  ${terminal.style("red", "-")} ${object}\nDeleted. Revision ${revision}.`,
  );
  return exitCode.ok;
}
