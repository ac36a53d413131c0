import { setTimeout as sleep } from "node:timers/promises";

import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";
import { toPlain } from "#proto/plain.ts";
import { type GroupRollout, GroupRolloutSchema } from "#sluice/admin/v1/rollout_service_pb.ts";
import {
  type GetStatusResponse,
  GetStatusResponseSchema,
  type NodeResource,
  NodeResourceSchema,
  NodeState,
  type ProxyNode,
  ProxyNodeSchema,
  type TypeStatus,
} from "#sluice/admin/v1/status_service_pb.ts";
import { type AdminClient, withClient } from "../client.ts";
import { CliError, exitCode } from "../errors.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import { newestOfEach, unfinishedLines } from "../rollout-view.ts";
import { ago, table } from "../table.ts";
import { type Paint, printable, type Style, type Terminal } from "../terminal.ts";
import { closest } from "../yaml/spelling.ts";
import { readResources, refusalText, resourceTable, type TypeNames, typeUrlOf } from "./node-resources.ts";

/** Options of `sluice status`. */
export interface StatusOptions extends GlobalOptions {
  readonly group?: string;
  readonly watch?: boolean;
  /** Of one data plane, only resources of this type. */
  readonly type?: string;
}

const WATCH_MS = 1_000;
const PAGE_SIZE = 1_000;

/** A version is a long hash; its beginning tells two apart. */
const VERSION_LENGTH = 8;

interface Status {
  readonly controlPlane: GetStatusResponse;
  readonly nodes: readonly ProxyNode[];
  readonly typeNames: TypeNames;
  /** Of the one data plane that was asked for, where it is connected. */
  readonly resources: readonly NodeResource[];
  /** The newest of each gateway group. */
  readonly rollouts: readonly GroupRollout[];
}

/** `sluice status [NODE]`: the control plane, and what each data plane was sent, accepted and refused. */
export async function status(node: string | undefined, options: StatusOptions, terminal: Terminal): Promise<number> {
  if (options.watch === true) return watch(node, options, terminal);
  await show(await read(options, node), node, options, terminal);
  return exitCode.ok;
}

/** Until the user has seen enough (SIGINT). */
async function watch(node: string | undefined, options: StatusOptions, terminal: Terminal): Promise<number> {
  for (;;) {
    const now = await read(options, node);
    // Only a screen is cleared; a pipe gets one status after the other.
    if (terminal.interactive) process.stdout.write("\u001b[2J\u001b[H");
    await show(now, node, options, terminal);
    await sleep(WATCH_MS);
  }
}

async function read(options: StatusOptions, node: string | undefined): Promise<Status> {
  const { resourceTypes } = await import("#proto/resource-types.ts");
  const typeNames = new Map(resourceTypes.map(({ typeUrl, shortName }) => [typeUrl, shortName as string]));
  const typeUrl = typeUrlOf(options.type, typeNames);
  if (typeUrl !== "" && node === undefined) throw new CliError("--type needs the name of a data plane");
  const gatewayGroup = options.group ?? "";
  const [controlPlane, nodes, resources, rollouts] = await withClient(options, async (client) => {
    const [told, all, rolled] = await Promise.all([
      client.status.getStatus({}),
      listNodes(client, gatewayGroup),
      client.rollouts.listRollouts({ gatewayGroup, limit: PAGE_SIZE }),
    ]);
    const asked = all.filter(({ id, disconnectTime }) => id === node && disconnectTime === undefined);
    const found = await Promise.all(asked.map((each) => readResources(client, each, typeUrl)));
    return [told, all, found.flat(), newestOfEach(rolled.rollouts)] as const;
  });
  if (node !== undefined && nodes.every(({ id }) => id !== node)) {
    const meant = closest(
      node,
      nodes.map(({ id }) => id),
    );
    throw new CliError(
      `no data plane ${node} is connected, or was within the last two hours`,
      meant === undefined ? "sluice status shows those that are" : `did you mean ${meant}?`,
    );
  }
  const shown = nodes.filter(({ id }) => node === undefined || id === node);
  return { controlPlane, nodes: shown, typeNames, resources, rollouts };
}

async function listNodes({ status: service }: AdminClient, gatewayGroup: string): Promise<ProxyNode[]> {
  const nodes: ProxyNode[] = [];
  let pageToken = "";
  do {
    const page = await service.listNodes({ gatewayGroup, pageSize: PAGE_SIZE, pageToken });
    nodes.push(...page.nodes);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return nodes;
}

function show(status: Status, node: string | undefined, { output }: StatusOptions, terminal: Terminal): Promise<void> {
  const data = {
    controlPlane: toPlain(GetStatusResponseSchema, status.controlPlane),
    nodes: status.nodes.map((each) => toPlain(ProxyNodeSchema, each)),
    rollouts: status.rollouts.map((each) => toPlain(GroupRolloutSchema, each)),
    ...(node !== undefined && { resources: status.resources.map((each) => toPlain(NodeResourceSchema, each)) }),
  };
  return print(terminal, output, data, () => {
    const now = new Date();
    const { style } = terminal;
    const body =
      node === undefined
        ? nodeTable(status, now, style)
        : [
            ...status.nodes.map((each) => nodeDetails(each, status.typeNames, now, style)),
            ...(status.resources.length > 0 ? [resourceTable(status.resources, status.typeNames, style)] : []),
          ].join("\n\n");
    return `${headline(status.controlPlane, now, style)}\n\n${body}`;
  });
}

function headline(status: GetStatusResponse, now: Date, style: Paint): string {
  const { version, store, revision, lastChangeTime, xdsAddress, controlPlanes, silentControlPlanes } = status;
  const changed = lastChangeTime === undefined ? "" : `, last change ${since(lastChangeTime, now)} ago`;
  const others = controlPlanes > 1 ? `   one of ${controlPlanes}` : "";
  const silent = silentControlPlanes.map(
    (name) => `\n  ${style("yellow", "!")} ${printable(name)} does not answer: its data planes are missing here`,
  );
  const place = `store ${store}, revision ${revision}${changed}   xDS ${xdsAddress}`;
  return `${style("bold", "CONTROL PLANE")}  ${version}   ${place}${others}${silent.join("")}`;
}

function nodeTable({ nodes, typeNames, rollouts }: Status, now: Date, style: Paint): string {
  const unfinished = unfinishedLines(rollouts, style);
  const last = unfinished.length > 0 ? ["", ...unfinished] : [];
  const none = "No data plane is connected: sluice proxy, or sluice bootstrap envoy, makes one.";
  if (nodes.length === 0) return [none, ...last].join("\n");
  const shown = [...typeNames].filter(([url]) =>
    nodes.some(({ types }) => types.some(({ typeUrl }) => typeUrl === url)),
  );
  const head = ["GROUP", "PROXY", "KIND", "VERSION", "STATE", "LAST SYNC", ...shown.map(([, name]) => name)];
  const rows = nodes.map((node) => [
    printable(node.gatewayGroup),
    printable(node.id),
    printable(node.kind),
    printable(node.version),
    stateOf(node, style),
    node.lastSyncTime === undefined ? "never" : `${since(node.lastSyncTime, now)} ago`,
    ...shown.map(([url]) =>
      versions(
        node.types.find(({ typeUrl }) => typeUrl === url),
        style,
      ),
    ),
  ]);
  const [headLine = "", ...lines] = table(head, rows).split("\n");
  // Under each data plane what is wrong with it.
  const body = lines.flatMap((line, index) => [line, ...complaints(nodes[index], typeNames, style)]);
  return [style("dim", headLine), ...body, ...last].join("\n");
}

function complaints(node: ProxyNode | undefined, typeNames: TypeNames, style: Paint): string[] {
  if (node === undefined) return [];
  return [
    ...node.types.flatMap(({ typeUrl, nack, refusals }) => {
      const type = typeNames.get(typeUrl) ?? typeUrl;
      if (refusals.length > 0) {
        return refusals.map(({ name, reason, objects }) => `${type}: ${name}: ${refusalText(reason, objects)}`);
      }
      if (nack === "") return [];
      // The native proxy names the type itself.
      return [nack.startsWith(`${type}: `) ? nack : `${type}: ${nack}`];
    }),
    ...node.problems,
  ].map((text) => `  ${style("red", "└─")} ${printable(text)}`);
}

function nodeDetails(node: ProxyNode, typeNames: TypeNames, now: Date, style: Paint): string {
  const connected =
    node.disconnectTime === undefined
      ? node.connectTime && `connected ${since(node.connectTime, now)} ago`
      : `disconnected ${since(node.disconnectTime, now)} ago`;
  const title = [
    `${style("bold", printable(node.id))} (${printable(node.gatewayGroup)})`,
    `${printable(node.kind)} ${printable(node.version)}`,
    printable(node.address),
    stateOf(node, style),
    connected ?? "",
  ];
  const rows = node.types.map((type) => [
    typeNames.get(type.typeUrl) ?? printable(type.typeUrl),
    String(type.resources),
    printable(type.sentVersion) || "-",
    printable(type.acceptedVersion) || "-",
    type.lastAckTime === undefined ? "-" : `${since(type.lastAckTime, now)} ago`,
    type.lastNackTime === undefined ? "-" : `${since(type.lastNackTime, now)} ago`,
  ]);
  const missing = node.types
    .filter((type) => type.missing.length > 0)
    .map(
      (type) =>
        `  ${style("yellow", "!")} ${typeNames.get(type.typeUrl) ?? type.typeUrl}: asks for what doesn't exist: ${printable(type.missing.join(", "))}`,
    );
  return [
    title.filter((word) => word !== "").join("   "),
    table(["TYPE", "RESOURCES", "SENT", "ACCEPTED", "LAST ACK", "LAST NACK"], rows),
    ...complaints(node, typeNames, style),
    ...missing,
  ].join("\n");
}

const states: ReadonlyMap<NodeState, readonly [string, Style]> = new Map([
  [NodeState.SYNCED, ["SYNCED", "green"]],
  [NodeState.STALE, ["STALE", "yellow"]],
  [NodeState.NACKED, ["NACKED", "red"]],
  [NodeState.DISCONNECTED, ["DISCONNECTED", "dim"]],
  [NodeState.UNKNOWN_GROUP, ["UNKNOWN GROUP", "red"]],
]);

function stateOf({ state }: ProxyNode, style: Paint): string {
  const [text, color] = states.get(state) ?? ["UNKNOWN", "yellow"];
  return style(color, text);
}

/** The version accepted; behind an arrow the one sent, where that is another. */
function versions(type: TypeStatus | undefined, style: Paint): string {
  if (type === undefined) return "-";
  const sent = short(type.sentVersion);
  const accepted = short(type.acceptedVersion);
  if (type.nack !== "" || type.refusals.length > 0) return style("red", `${accepted || "none"} ✗ ${sent}`);
  return sent === accepted ? accepted || "-" : style("yellow", `${accepted || "none"} → ${sent}`);
}

const short = (version: string) => printable(version).slice(0, VERSION_LENGTH);

const since = (time: Timestamp, now: Date) => ago(timestampDate(time), now);
