import { create, createRegistry, type MessageInitShape, toJson } from "@bufbuild/protobuf";
import { timestampDate } from "@bufbuild/protobuf/wkt";

import {
  type ClientConfig,
  type ClientConfig_GenericXdsConfig as Entry,
  ClientConfigSchema,
  ClientStatusDiscoveryService,
  ClientStatusRequestSchema,
  ConfigStatus,
} from "#envoy/service/status/v3/csds_pb.ts";
import { registry } from "#proto/registry.ts";
import { resourceTypes, servedTypes } from "#proto/resource-types.ts";

import { withClient } from "../client.ts";
import { CliError, exitCode } from "../errors.ts";
import { print } from "../output.ts";
import { ago, table } from "../table.ts";
import { type Paint, printable, type Style, type Terminal } from "../terminal.ts";
import { type TypeNames, typeUrlOf } from "./node-resources.ts";
import type { StatusOptions } from "./status.ts";

/**
 * `sluice status NODE --client`: what the client status service says of a data plane. As data it is Envoy's own message with the resources'
 * contents, but for secrets.
 */
export async function clientStatus(
  node: string | undefined,
  options: StatusOptions,
  terminal: Terminal,
): Promise<number> {
  if (node === undefined) throw new CliError("--client needs the name of a data plane");
  if (options.watch === true) throw new CliError("--client and --watch don't go together");
  const typeNames: TypeNames = new Map(resourceTypes.map(({ typeUrl, shortName }) => [typeUrl, shortName]));
  const typeUrl = typeUrlOf(options.type, typeNames);
  const request: MessageInitShape<typeof ClientStatusRequestSchema> = {
    nodeMatchers: [{ nodeId: { matchPattern: { case: "exact", value: node } } }],
    excludeResourceContents: options.output === "table",
  };
  const { config } = await withClient(options, (client) =>
    client.of(ClientStatusDiscoveryService).fetchClientStatus(create(ClientStatusRequestSchema, request)),
  );
  const found = config.filter(({ node: each }) => options.group === undefined || each?.cluster === options.group);
  if (found.length === 0)
    throw new CliError(`no data plane ${node} is connected`, "sluice status shows those that are");
  for (const each of found) {
    each.genericXdsConfigs = each.genericXdsConfigs.filter((entry) => typeUrl === "" || entry.typeUrl === typeUrl);
  }
  const known = createRegistry(registry, ...servedTypes.map(({ schema }) => schema));
  const data = () => ({ clients: found.map((each) => toJson(ClientConfigSchema, each, { registry: known })) });
  await print(terminal, options.output, options.output === "table" ? undefined : data(), () =>
    found.map((each) => details(each, typeNames, new Date(), terminal.style)).join("\n\n"),
  );
  return exitCode.ok;
}

const states: ReadonlyMap<ConfigStatus, readonly [string, Style]> = new Map([
  [ConfigStatus.SYNCED, ["SYNCED", "green"]],
  [ConfigStatus.STALE, ["STALE", "yellow"]],
  [ConfigStatus.NOT_SENT, ["NOT SENT", "yellow"]],
  [ConfigStatus.ERROR, ["ERROR", "red"]],
]);

function details({ node, genericXdsConfigs }: ClientConfig, typeNames: TypeNames, now: Date, style: Paint): string {
  const title = `${style("bold", printable(node?.id ?? ""))} (${printable(node?.cluster || "default")})`;
  const rows = genericXdsConfigs.map((entry) => row(entry, typeNames, now, style));
  const [head = "", ...lines] = table(["TYPE", "RESOURCE", "VERSION", "STATUS", "SINCE"], rows).split("\n");
  const body = lines.flatMap((line, at) => {
    const reason = genericXdsConfigs[at]?.errorState?.details ?? "";
    return reason === "" ? [line] : [line, `  ${style("red", "└─")} ${printable(reason)}`];
  });
  return [title, style("dim", head), ...body].join("\n");
}

function row(
  { typeUrl, name, versionInfo, configStatus, lastUpdated }: Entry,
  typeNames: TypeNames,
  now: Date,
  style: Paint,
) {
  // What it wants and nobody has written has no version.
  const [text, color] =
    versionInfo === "" ? (["DOESN'T EXIST", "yellow"] as const) : (states.get(configStatus) ?? ["UNKNOWN", "yellow"]);
  const since = lastUpdated === undefined ? "-" : `${ago(timestampDate(lastUpdated), now)} ago`;
  const type = typeNames.get(typeUrl) ?? printable(typeUrl);
  return [type, printable(name), printable(versionInfo) || "-", style(color, text), since];
}
