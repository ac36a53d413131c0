import { createHash, randomBytes } from "node:crypto";

import { create } from "@bufbuild/protobuf";

import { LeaseRegistrySchema, type LeaseToken, LeaseTokenSchema } from "#sluice/model/v1/registry_pb.ts";

import { type AdminClient, withClient } from "../client.ts";
import { CliError, exitCode } from "../errors.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import { table } from "../table.ts";
import { printable, type Terminal } from "../terminal.ts";

/** Options of `sluice discovery token`. */
export interface LeaseTokenOptions extends GlobalOptions {
  readonly group: string;
  /** Of `create`. */
  readonly service?: readonly string[];
}

/** What every token for reports starts with, so that secret scanners find a leaked one. */
const TOKEN_PREFIX = "sluice_lease_";

/** `sluice discovery token create REGISTRY NAME`: the token is made here, and only its hash leaves this machine. */
export async function createLeaseToken(
  registry: string,
  name: string,
  options: LeaseTokenOptions,
  terminal: Terminal,
): Promise<number> {
  const { group, service: services = [] } = options;
  const token = `${TOKEN_PREFIX}${randomBytes(32).toString("base64url")}`;
  const sha256 = createHash("sha256").update(token).digest("hex");
  await withClient(options, (client) =>
    change(client, group, registry, (tokens) => {
      if (tokens.some((each) => each.name === name)) {
        throw new CliError(
          `the registry ${registry} has a token ${name}`,
          `sluice discovery token delete ${registry} ${name} first`,
        );
      }
      return [...tokens, create(LeaseTokenSchema, { name, sha256, services: [...services] })];
    }),
  );
  await print(terminal, options.output, { name, gatewayGroup: group, registry, services, token }, () => token);
  return exitCode.ok;
}

/** `sluice discovery token list REGISTRY`. */
export async function listLeaseTokens(
  registry: string,
  options: LeaseTokenOptions,
  terminal: Terminal,
): Promise<number> {
  const { tokens } = await withClient(options, (client) => read(client, options.group, registry));
  const data = tokens.map(({ name, services }) => ({ name, gatewayGroup: options.group, registry, services }));
  await print(terminal, options.output, data, () =>
    table(
      ["NAME", "GROUP", "REGISTRY", "SERVICES"],
      data.map(({ name, gatewayGroup, services }) => [
        name,
        gatewayGroup,
        registry,
        printable(services.join(", ")) || "all",
      ]),
    ),
  );
  return exitCode.ok;
}

/** `sluice discovery token delete REGISTRY NAME`. */
export async function deleteLeaseToken(
  registry: string,
  name: string,
  options: LeaseTokenOptions,
  terminal: Terminal,
): Promise<number> {
  const { group } = options;
  await withClient(options, (client) =>
    change(client, group, registry, (tokens) => {
      const left = tokens.filter((each) => each.name !== name);
      if (left.length < tokens.length) return left;
      throw new CliError(
        `the registry ${registry} has no token ${name}`,
        `sluice discovery token list ${registry} shows those that it has`,
      );
    }),
  );
  await print(
    terminal,
    options.output,
    { deleted: name, gatewayGroup: group, registry },
    () => `Deleted the token ${name}.`,
  );
  return exitCode.ok;
}

async function read({ registries }: AdminClient, gatewayGroup: string, name: string) {
  const { registry, metadata } = await registries.getRegistry({ gatewayGroup, name });
  if (registry === undefined || metadata === undefined) throw new CliError(`no registry ${name} in the answer`);
  if (registry.kind.case !== "leases") {
    throw new CliError(
      `the registry ${name} is of the kind ${registry.kind.case}; only those of the kind leases have tokens`,
    );
  }
  return { registry, revision: metadata.revision, tokens: registry.kind.value.tokens };
}

/** Replaces a registry's tokens, unless somebody else has changed the registry meanwhile. */
async function change(
  client: AdminClient,
  group: string,
  name: string,
  decide: (tokens: readonly LeaseToken[]) => LeaseToken[],
): Promise<void> {
  const { registry, revision, tokens } = await read(client, group, name);
  const value = create(LeaseRegistrySchema, { tokens: decide(tokens) });
  const changed = { ...registry, kind: { case: "leases", value } as const };
  await client.registries.updateRegistry({ registry: changed, expectedRevision: revision });
}
