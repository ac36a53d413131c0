import { create } from "@bufbuild/protobuf";

import { type Gateway, GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";
import { type Balance, BalanceSchema, type Node } from "#sluice/model/v1/upstream_pb.ts";

import { withClient } from "../client.ts";
import { CliError, exitCode } from "../errors.ts";
import { groupOf, shorten } from "../objects.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import { table } from "../table.ts";
import { printable, type Terminal } from "../terminal.ts";
import { toPlain } from "../yaml/plain.ts";
import { alternatives, closest, shortName } from "../yaml/spelling.ts";

/** Options of `sluice get`. */
export interface GetOptions extends GlobalOptions {
  readonly group?: string;
}

const kinds = ["gateway-groups", "services", "routes", "upstreams", "all"] as const;
type Kind = (typeof kinds)[number];

/**
 * `sluice get`: a table, or as JSON or YAML a gateway file that `apply` takes back unchanged. Of a route or an upstream that is the whole
 * service around it, since less could not be applied.
 */
export async function get(
  kindName: string,
  name: string | undefined,
  options: GetOptions,
  terminal: Terminal,
): Promise<number> {
  const kind = kinds.find((candidate) => candidate === kindName || candidate === `${kindName}s`);
  if (kind === undefined) {
    const meant = closest(kindName, kinds);
    throw new CliError(
      `there are no "${kindName}"`,
      meant === undefined ? `there are ${alternatives(kinds).replace(" or ", " and ")}` : `did you mean ${meant}?`,
    );
  }
  const exported = await withClient(options, ({ gateways }) => gateways.export({ gatewayGroup: options.group ?? "" }));
  const gateway = select(exported.gateway ?? create(GatewaySchema), kind, name);
  await print(terminal, options.output, toPlain(GatewaySchema, gateway), () => asTable(gateway, kind, name));
  return exitCode.ok;
}

/** The part of a gateway that is asked for. A name that nothing has is an error, so that scripts notice. */
function select({ gatewayGroups, services }: Gateway, kind: Kind, name: string | undefined): Gateway {
  const named = (object: { readonly name: string }) => name === undefined || object.name === name;
  const part = create(GatewaySchema, {
    gatewayGroups: kind === "gateway-groups" || kind === "all" ? gatewayGroups.filter(named) : [],
    services: kind === "gateway-groups" ? [] : services.filter((service) => holds(service, kind, named)),
  });
  if (name !== undefined && part.gatewayGroups.length === 0 && part.services.length === 0) {
    const noun = kind === "all" ? "object" : kind.slice(0, -1);
    const names = namesOf(kind, gatewayGroups, services);
    const meant = closest(name, names);
    throw new CliError(
      `there is no ${noun} ${name}`,
      meant === undefined ? `there are: ${shorten(names, 10) || "none"}` : `did you mean ${meant}?`,
    );
  }
  return part;
}

function holds(service: Service, kind: Kind, named: (object: { readonly name: string }) => boolean): boolean {
  if (kind === "routes") return service.routes.some(named);
  if (kind === "upstreams") return service.upstreams.some(named);
  return named(service);
}

function namesOf(kind: Kind, groups: Gateway["gatewayGroups"], services: Gateway["services"]): string[] {
  const objects = {
    "gateway-groups": groups,
    services,
    routes: services.flatMap(({ routes }) => routes),
    upstreams: services.flatMap(({ upstreams }) => upstreams),
    all: [...groups, ...services],
  }[kind];
  return [...new Set(objects.map((object) => object.name))];
}

function asTable(gateway: Gateway, kind: Kind, name: string | undefined): string {
  switch (kind) {
    case "gateway-groups":
      return groupTable(gateway);
    case "services":
      return serviceTable(gateway);
    case "routes":
      return routeTable(gateway, name);
    case "upstreams":
      return upstreamTable(gateway, name);
    case "all":
      return [groupTable(gateway), serviceTable(gateway), routeTable(gateway), upstreamTable(gateway)].join("\n\n");
  }
}

const groupTable = ({ gatewayGroups }: Gateway) =>
  table(
    ["GATEWAY GROUP", "LISTENERS", "DESCRIPTION"],
    gatewayGroups.map(({ name, listeners, description }) => [
      name,
      shorten(
        listeners.map((listener) => `${listener.name} ${listener.address || "127.0.0.1"}:${listener.port}`),
        4,
      ),
      printable(description),
    ]),
  );

const serviceTable = ({ services }: Gateway) =>
  table(
    ["SERVICE", "GROUP", "HOSTS", "PREFIX", "ROUTES", "UPSTREAMS"],
    services.map((service) => [
      service.name,
      groupOf(service),
      printable(shorten(service.hosts, 3)) || "*",
      printable(service.pathPrefix) || "/",
      String(service.routes.length),
      String(service.upstreams.length),
    ]),
  );

const routeTable = ({ services }: Gateway, name?: string) =>
  table(
    ["ROUTE", "SERVICE", "GROUP", "METHODS", "PATHS", "PRIORITY", "UPSTREAM"],
    services.flatMap((service) =>
      service.routes
        .filter((route) => name === undefined || route.name === name)
        .map((route) => [
          route.enabled === false ? `${route.name} (off)` : route.name,
          service.name,
          groupOf(service),
          route.methods.join(",") || "*",
          printable(shorten(route.paths, 3)),
          String(route.priority),
          route.upstream || "default",
        ]),
    ),
  );

const upstreamTable = ({ services }: Gateway, name?: string) =>
  table(
    ["UPSTREAM", "SERVICE", "GROUP", "BALANCE", "NODES"],
    services.flatMap((service) =>
      service.upstreams
        .filter((upstream) => name === undefined || upstream.name === name)
        .map((upstream) => [
          upstream.name,
          service.name,
          groupOf(service),
          balanceOf(upstream.balance),
          shorten(upstream.nodes.map(describeNode), 4),
        ]),
    ),
  );

function balanceOf(number: Balance): string {
  const value = BalanceSchema.value[number];
  return value === undefined || number === 0 ? "round_robin" : shortName(value);
}

function describeNode({ host, port, weight }: Node): string {
  const at = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  return weight === undefined || weight === 1 ? at : `${at} (weight ${weight})`;
}
