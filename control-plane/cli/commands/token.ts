import { createHash, randomBytes } from "node:crypto";

import { create } from "@bufbuild/protobuf";

import { type GatewayGroup, type JoinToken, JoinTokenSchema } from "#sluice/model/v1/gateway_group_pb.ts";

import { type AdminClient, withClient } from "../client.ts";
import { CliError, exitCode } from "../errors.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import { table } from "../table.ts";
import { printable, type Terminal } from "../terminal.ts";

/** Options of `sluice token`. */
export interface TokenOptions extends GlobalOptions {
  readonly group: string;
}

/** What every join token starts with, so that secret scanners find a leaked one. */
const TOKEN_PREFIX = "sluice_join_";

/** `sluice token create NAME`: the token is made here, and only its hash leaves this machine. */
export async function createToken(name: string, options: TokenOptions, terminal: Terminal): Promise<number> {
  const { group } = options;
  const token = `${TOKEN_PREFIX}${randomBytes(32).toString("base64url")}`;
  const sha256 = createHash("sha256").update(token).digest("hex");
  const tokens = await withClient(options, (client) =>
    change(client, group, (joinTokens) => {
      if (joinTokens.some((each) => each.name === name)) {
        throw new CliError(`the gateway group ${group} has a join token ${name}`, `sluice token delete ${name} first`);
      }
      return [...joinTokens, { name, sha256 }];
    }),
  );
  if (tokens === 1) {
    note(
      terminal,
      `from now on data planes join ${group} with a join token or a certificate; others are cut off, and serve on with what they have`,
    );
  }
  await print(terminal, options.output, { name, gatewayGroup: group, token }, () => token);
  return exitCode.ok;
}

/** `sluice token list`. */
export async function listTokens(options: TokenOptions, terminal: Terminal): Promise<number> {
  const { group } = await withClient(options, (client) => read(client, options.group));
  const names = group.joinTokens.map(({ name }) => ({ name, gatewayGroup: options.group }));
  await print(terminal, options.output, names, () =>
    table(
      ["NAME", "GROUP"],
      names.map(({ name, gatewayGroup }) => [name, gatewayGroup]),
    ),
  );
  return exitCode.ok;
}

/** `sluice token delete NAME`. */
export async function deleteToken(name: string, options: TokenOptions, terminal: Terminal): Promise<number> {
  const { group } = options;
  const tokens = await withClient(options, (client) =>
    change(client, group, (joinTokens) => {
      const left = joinTokens.filter((each) => each.name !== name);
      if (left.length < joinTokens.length) return left;
      throw new CliError(
        `the gateway group ${group} has no join token ${name}`,
        "sluice token list shows those that it has",
      );
    }),
  );
  if (tokens === 0) {
    note(
      terminal,
      `${group} has no join token left: over TLS only certificates let data planes join, and on a loopback port all may`,
    );
  }
  await print(
    terminal,
    options.output,
    { deleted: name, gatewayGroup: group },
    () => `Deleted the join token ${name}.`,
  );
  return exitCode.ok;
}

async function read({ groups }: AdminClient, name: string): Promise<{ group: GatewayGroup; revision: bigint }> {
  const { gatewayGroup, metadata } = await groups.getGatewayGroup({ name });
  if (gatewayGroup === undefined || metadata === undefined)
    throw new CliError(`no gateway group ${name} in the answer`);
  return { group: gatewayGroup, revision: metadata.revision };
}

const note = (terminal: Terminal, text: string) =>
  terminal.err(`${terminal.styleError("yellow", "!")} ${printable(text)}`);

/** Replaces a group's tokens, unless somebody else has changed the group meanwhile. Returns how many there are now. */
async function change(
  client: AdminClient,
  name: string,
  decide: (tokens: readonly JoinToken[]) => readonly Pick<JoinToken, "name" | "sha256">[],
): Promise<number> {
  const { group, revision } = await read(client, name);
  const joinTokens = decide(group.joinTokens);
  const gatewayGroup = {
    ...group,
    joinTokens: joinTokens.map(({ name: of, sha256 }) => create(JoinTokenSchema, { name: of, sha256 })),
  };
  await client.groups.updateGatewayGroup({ gatewayGroup, expectedRevision: revision });
  return joinTokens.length;
}
