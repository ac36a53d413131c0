import { timestampDate } from "@bufbuild/protobuf/wkt";

import { toPlain } from "#proto/plain.ts";
import {
  type FoundService,
  FoundServiceSchema,
  WatchedRegistrySchema,
  type WatchedService,
  WatchedServiceSchema,
  WatchState,
} from "#sluice/admin/v1/discovery_service_pb.ts";
import { type Endpoint, EndpointHealth, type ServiceKey } from "#sluice/discovery/v1/snapshot_pb.ts";
import { withClient } from "../client.ts";
import { CliError, exitCode } from "../errors.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import { registryDetails, registryTable, since, withNotes } from "./discovery-registries.ts";
import { table } from "../table.ts";
import { type Paint, printable, type Style, type Terminal } from "../terminal.ts";

/** Options of `sluice discovery …`. */
export interface DiscoveryOptions extends GlobalOptions {
  readonly group?: string;
  readonly registry?: string;
}

/** `sluice discovery registries [NAME]`: each registry, whether it answers, and since when; or all about those of one name. */
export async function registries(
  name: string | undefined,
  options: DiscoveryOptions,
  terminal: Terminal,
): Promise<number> {
  const { registries: all } = await withClient(options, (client) =>
    client.discovery.listWatchedRegistries({ gatewayGroup: options.group ?? "", name: name ?? "" }),
  );
  if (name !== undefined && all.length === 0) {
    throw new CliError(`no registry ${name}`, "sluice discovery registries shows those that there are");
  }
  const data = all.map((each) => toPlain(WatchedRegistrySchema, each));
  await print(terminal, options.output, data, () =>
    name === undefined
      ? registryTable(all, terminal.style)
      : all.map((each) => registryDetails(each, terminal.style)).join("\n\n"),
  );
  return exitCode.ok;
}

/** `sluice discovery services`: what upstreams need of registries, and how fresh it is. */
export async function services(options: DiscoveryOptions, terminal: Terminal): Promise<number> {
  const all = await listWatched(options, "", false);
  const data = all.map((each) => toPlain(WatchedServiceSchema, each));
  await print(terminal, options.output, data, () => serviceTable(all, terminal.style));
  return exitCode.ok;
}

/** `sluice discovery endpoints SERVICE`: the endpoints of a service as its registry reports them. */
export async function endpoints(service: string, options: DiscoveryOptions, terminal: Terminal): Promise<number> {
  const all = await listWatched(options, service, true);
  const data = all.map((each) => toPlain(WatchedServiceSchema, each));
  await print(terminal, options.output, data, () =>
    all.length === 0
      ? `No upstream needs a service ${service}: sluice discovery services shows those that are needed.`
      : all.map((each) => endpointTable(each, terminal.style)).join("\n\n"),
  );
  return exitCode.ok;
}

/** `sluice discovery problems`: everything that isn't fresh, or of which an upstream takes nothing; exit code 2 if there is anything. */
export async function problems(options: DiscoveryOptions, terminal: Terminal): Promise<number> {
  const all = (await listWatched(options, "", false)).filter(
    ({ state, choices }) => state !== WatchState.FRESH || choices.some(({ problem }) => problem !== ""),
  );
  const data = all.map((each) => toPlain(WatchedServiceSchema, each));
  await print(terminal, options.output, data, () =>
    all.length === 0
      ? "Every service is fresh, and every upstream takes some of its endpoints."
      : serviceTable(all, terminal.style),
  );
  return all.length === 0 ? exitCode.ok : exitCode.changes;
}

/** `sluice discovery find REGISTRY`: the services that a registry has. */
export async function find(registry: string, options: DiscoveryOptions, terminal: Terminal): Promise<number> {
  const { services: found } = await withClient(options, (client) =>
    client.discovery.listFoundServices({ gatewayGroup: options.group ?? "", registry }),
  );
  const data = found.map((each) => toPlain(FoundServiceSchema, each));
  await print(terminal, options.output, data, () => foundTable(found, terminal.style));
  return exitCode.ok;
}

async function listWatched(options: DiscoveryOptions, service: string, withEndpoints: boolean) {
  const { group = "", registry = "" } = options;
  const answer = await withClient(options, (client) =>
    client.discovery.listWatchedServices({ gatewayGroup: group, registry, service, endpoints: withEndpoints }),
  );
  return answer.services;
}

const states: ReadonlyMap<WatchState, readonly [string, Style]> = new Map([
  [WatchState.WAITING, ["WAITING", "yellow"]],
  [WatchState.FRESH, ["FRESH", "green"]],
  [WatchState.STALE, ["STALE", "yellow"]],
  [WatchState.FAILING, ["FAILING", "red"]],
  [WatchState.PERMISSION_DENIED, ["PERMISSION DENIED", "red"]],
  [WatchState.UNKNOWN_SERVICE, ["UNKNOWN SERVICE", "red"]],
  [WatchState.HELD, ["HELD", "yellow"]],
]);

const serviceHead = ["GROUP", "REGISTRY", "SERVICE", "STATE", "USABLE", "LAST EVENT", "LAST CHANGE", "USED BY"];

function serviceTable(all: readonly WatchedService[], style: Paint): string {
  if (all.length === 0) return "No upstream needs a registry (discovery: in an upstream).";
  const rows = all.map((each) => [
    ...[printable(each.gatewayGroup), printable(each.registry), keyText(each.key), stateOf(each.state, style)],
    `${each.usableCount} of ${each.endpointCount}`,
    since(each.lastEventTime),
    // Unknown of an answer of the run before.
    each.lastChangeTime === undefined ? "-" : since(each.lastChangeTime),
    printable(usersText(each)),
  ]);
  return withNotes(table(serviceHead, rows), all.map(notesOn), style);
}

/** Who uses a service, and how many of its endpoints, where that isn't all that can be used: "shop/all, shop/v2 (1)". */
const usersText = ({ choices, usableCount }: WatchedService): string =>
  choices
    .map(({ upstream, chosenCount }) => (chosenCount === usableCount ? upstream : `${upstream} (${chosenCount})`))
    .join(", ");

/** What is wrong with a service, a line for each. */
function notesOn(service: WatchedService): string[] {
  const { problem, state, registry, gatewayGroup, choices, usableCount, heldUntilTime } = service;
  const notes: string[] = [];
  const group = gatewayGroup === "default" ? "" : ` --group ${gatewayGroup}`;
  if (state === WatchState.HELD && heldUntilTime !== undefined) {
    const until = timestampDate(heldUntilTime).toLocaleTimeString("en-GB");
    const advice = "if it is right, holdEmpty: 0s on the registry believes it now";
    notes.push(`${problem?.message}; held until ${until}: ${advice}`);
  } else if (problem !== undefined) notes.push(problem.message);
  else if (state === WatchState.UNKNOWN_SERVICE) {
    notes.push(`the registry answers, and has no service of this name: sluice discovery find ${registry}${group}`);
  }
  const none = choices.filter((choice) => choice.problem !== "");
  // What concerns all of them is said once.
  const [first] = none;
  if (first !== undefined && usableCount === 0 && none.every((choice) => choice.problem === first.problem)) {
    return [...notes, first.problem];
  }
  return [...notes, ...none.map((choice) => `${choice.upstream} takes none: ${choice.problem}`)];
}

const healths: ReadonlyMap<EndpointHealth, string> = new Map([
  [EndpointHealth.HEALTHY, "healthy"],
  [EndpointHealth.DRAINING, "draining"],
  [EndpointHealth.UNHEALTHY, "unhealthy"],
]);

const endpointHead = ["ADDRESS", "PORT", "NAME", "HEALTH", "WEIGHT", "ZONE", "TAGS", "METADATA"];

function endpointTable(service: WatchedService, style: Paint): string {
  const { gatewayGroup, registry, key, state, endpoints: all } = service;
  const title = `${style("bold", keyText(key))} in ${printable(registry)} (${printable(gatewayGroup)})   ${stateOf(state, style)}`;
  const rows = all.map((each) => [
    ...[printable(each.address), String(each.port), printable(each.hostname) || "-"],
    healths.get(each.health) ?? "unknown",
    String(each.weight ?? 1),
    printable(zoneText(each)) || "-",
    printable(each.tags.join(",")) || "-",
    printable(
      Object.entries(each.metadata)
        .map(([name, value]) => `${name}=${value}`)
        .join(","),
    ) || "-",
  ]);
  const takers = service.choices.map(
    ({ upstream, chosenCount, problem }) =>
      `${printable(upstream)} takes ${chosenCount} of ${all.length}${problem === "" ? "" : `: ${printable(problem)}`}`,
  );
  const why = service.problem === undefined ? [] : [printable(service.problem.message)];
  return [title, ...why, table(endpointHead, rows), ...takers].join("\n");
}

/** Where an instance is, and by hints the zones that it is there for: "b", "b for a". */
const zoneText = ({ zone, forZones }: Endpoint) =>
  forZones.length === 0 || forZones.join() === zone ? zone : `${zone} for ${forZones.join(",")}`;

function foundTable(found: readonly FoundService[], style: Paint): string {
  if (found.length === 0) return "The registry has no services.";
  const rows = found.map(({ key, tags, ports }) => [
    keyText(key),
    printable(tags.join(",")) || "-",
    printable(ports.join(",")) || "-",
  ]);
  const [head = "", ...lines] = table(["SERVICE", "TAGS", "PORTS"], rows).split("\n");
  return [style("dim", head), ...lines].join("\n");
}

function stateOf(state: WatchState, style: Paint): string {
  const [text, color] = states.get(state) ?? ["UNKNOWN", "yellow"];
  return style(color, text);
}

function keyText(key: ServiceKey | undefined): string {
  const { service = "", namespace = "", group = "", cluster = "" } = key ?? {};
  const more = [namespace, group, cluster].filter((part) => part !== "");
  return printable(more.length === 0 ? service : `${service} (${more.join(", ")})`);
}
