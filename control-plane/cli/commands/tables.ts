import { shortName } from "#proto/plain.ts";
import type { CaCertificate, Certificate } from "#sluice/model/v1/certificate_pb.ts";
import type { Gateway } from "#sluice/model/v1/gateway_pb.ts";
import type { Registry } from "#sluice/model/v1/registry_pb.ts";
import { type Balance, BalanceSchema, type Node, type Upstream } from "#sluice/model/v1/upstream_pb.ts";
import { groupOf, shorten } from "../objects.ts";
import { table } from "../table.ts";
import { printable } from "../terminal.ts";
import { describeExpiry, dnsNamesOf, readChain } from "./certificates.ts";

/** What `sluice get` shows of a gateway, by what was asked for; of routes and upstreams only those of the name, if there is one. */
const tables = {
  "gateway-groups": (gateway: Gateway) => groupTable(gateway),
  services: (gateway: Gateway) => serviceTable(gateway),
  routes: (gateway: Gateway, name?: string) => routeTable(gateway, name),
  upstreams: (gateway: Gateway, name?: string) => upstreamTable(gateway, name),
  registries: (gateway: Gateway) => registryTable(gateway),
  certificates: (gateway: Gateway) => certificateTable(gateway),
  "ca-certificates": (gateway: Gateway) => caTable(gateway),
} as const;

/** What was asked for as a table; "all" is every table that has rows, and the first ones in any case. */
export function asTable(gateway: Gateway, word: keyof typeof tables | "all", name: string | undefined): string {
  if (word !== "all") return tables[word](gateway, name);
  return [
    ...[groupTable(gateway), serviceTable(gateway), routeTable(gateway), upstreamTable(gateway)],
    ...(gateway.registries.length > 0 ? [registryTable(gateway)] : []),
    ...(gateway.certificates.length > 0 ? [certificateTable(gateway)] : []),
    ...(gateway.caCertificates.length > 0 ? [caTable(gateway)] : []),
  ].join("\n\n");
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
          shorten([...discovered(upstream), ...upstream.nodes.map(describeNode)], 4),
        ]),
    ),
  );

const discovered = ({ discovery }: Upstream): string[] =>
  discovery === undefined ? [] : [printable(`${discovery.registry}: ${discovery.service}`)];

function balanceOf(number: Balance): string {
  const value = BalanceSchema.value[number];
  return value === undefined || number === 0 ? "round_robin" : shortName(value);
}

function describeNode({ host, port, weight }: Node): string {
  const at = host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
  return weight === undefined || weight === 1 ? at : `${at} (weight ${weight})`;
}

const registryTable = ({ registries, services }: Gateway) =>
  table(
    ["REGISTRY", "GROUP", "KIND", "ADDRESSES", "UPSTREAMS"],
    registries.map((registry) => {
      const uses = services
        .filter((service) => groupOf(service) === groupOf(registry))
        .flatMap(({ upstreams }) => upstreams)
        .filter(({ discovery }) => discovery?.registry === registry.name);
      return [
        registry.name,
        groupOf(registry),
        registry.kind.case ?? "?",
        printable(shorten(addressesOf(registry), 3)),
        String(uses.length),
      ];
    }),
  );

function addressesOf({ kind }: Registry): readonly string[] {
  switch (kind.case) {
    case "consul":
    case "nacos":
      return kind.value.addresses;
    case "dns":
      return kind.value.resolvers;
    case "file":
      return [kind.value.path];
    case "kubernetes":
      return kind.value.access.case === "apiServer" ? [kind.value.access.value.url] : [];
    default:
      return [];
  }
}

const certificateTable = ({ certificates }: Gateway) =>
  table(
    ["CERTIFICATE", "GROUP", "SNI", "KEY", "EXPIRES"],
    certificates.map((certificate) => {
      const [leaf] = readChain(certificate.certificateChain);
      const names = certificate.snis.length > 0 ? certificate.snis : leaf === undefined ? [] : dnsNamesOf(leaf);
      return [
        certificate.name,
        groupOf(certificate),
        printable(shorten(names, 4)) || "*",
        keyOf(certificate, leaf?.publicKey.asymmetricKeyType),
        leaf === undefined ? "?" : describeExpiry(leaf, new Date()),
      ];
    }),
  );

/** "ec", and where the key is if it is not stored. */
function keyOf({ privateKey }: Certificate, type: string | undefined): string {
  const source = privateKey?.source;
  const place = source?.case === "env" || source?.case === "file" ? ` (${source.case} ${printable(source.value)})` : "";
  return `${type ?? "?"}${place}`;
}

const caTable = ({ caCertificates }: Gateway) =>
  table(
    ["CA CERTIFICATE", "GROUP", "SUBJECTS", "EXPIRES"],
    caCertificates.map((ca: CaCertificate) => {
      const chain = readChain(ca.certificates);
      const first = chain.toSorted((a, b) => a.validToDate.getTime() - b.validToDate.getTime())[0];
      const subjects = chain.map(({ subject }) => /CN=([^\n]*)/.exec(subject ?? "")?.[1] ?? subject ?? "?");
      return [
        ca.name,
        groupOf(ca),
        printable(shorten(subjects, 3)),
        first === undefined ? "?" : describeExpiry(first, new Date()),
      ];
    }),
  );
