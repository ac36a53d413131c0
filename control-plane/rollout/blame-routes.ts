/** Finds the services and routes that a refusal of route configuration is about. */
import { fromBinary } from "@bufbuild/protobuf";

import { type VirtualHost, VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { servedType } from "#proto/resource-types.ts";

/** A service, and one of its routes where it is known. */
export interface RouteOwner {
  readonly service: string;
  readonly route: string | undefined;
}

const VHDS = servedType("VHDS").typeUrl;

/** Virtual hosts of these names, behind that of their route configuration, are what one service has for itself (translate/names.ts). */
const OWN_HOST = /^(?:.*\/)?service:([^/]+)$/;

/**
 * @param name of the refused RouteConfiguration, or of a virtual host as VHDS names it: ROUTE_CONFIGURATION/VIRTUAL_HOST
 * @param read the refused resource, encoded; called where it takes a look inside
 */
export function routesIn(
  typeUrl: string,
  name: string,
  reason: string,
  read: () => Uint8Array | undefined,
): RouteOwner[] {
  if (typeUrl !== VHDS) {
    const bytes = read();
    return bytes === undefined ? [] : inHosts(fromBinary(RouteConfigurationSchema, bytes).virtualHosts, reason);
  }
  const [, own] = OWN_HOST.exec(name) ?? [];
  const bytes = read();
  if (bytes === undefined || bytes.length === 0) return own === undefined ? [] : [{ service: own, route: undefined }];
  const host = fromBinary(VirtualHostSchema, bytes);
  const told = [...reason.matchAll(/\broutes\[(\d+)\]/g)].flatMap(([, at]) => ownersOf(host, Number(at)));
  return told.length > 0 ? told : ownersOf(host, undefined);
}

/** By place, as Sluice's proxy tells it; else by every name of a host, domain, route or cluster that the reason has. */
function inHosts(hosts: readonly VirtualHost[], reason: string): RouteOwner[] {
  const placed = [...reason.matchAll(/\bvirtual_hosts\[(\d+)\](?:\.routes\[(\d+)\])?/g)].flatMap(([, host, route]) =>
    ownersOf(hosts[Number(host)], route === undefined ? undefined : Number(route)),
  );
  if (placed.length > 0) return placed;
  const words = new Set(reason.split(/[\s,;'"()]+/).map((word) => word.replace(/[.:]+$/, "")));
  const named = hosts.flatMap((host) => [
    ...host.routes.flatMap(({ name }, at) => (words.has(name) ? ownersOf(host, at) : [])),
    ...(words.has(host.name) || host.domains.some((domain) => words.has(domain)) ? ownersOf(host, undefined) : []),
  ]);
  if (named.length > 0) return named;
  // A cluster that Envoy misses: SERVICE/UPSTREAM.
  const services = new Set(hosts.flatMap((host) => ownersOf(host, undefined)).map(({ service }) => service));
  return [...words].flatMap((word) => {
    const [service = "", upstream] = word.split("/");
    return upstream !== undefined && services.has(service) ? [{ service, route: undefined }] : [];
  });
}

/** Whose a virtual host, or one of its routes, is. Routes are called SERVICE/ROUTE. */
function ownersOf(host: VirtualHost | undefined, route: number | undefined): RouteOwner[] {
  if (host === undefined) return [];
  const named = route === undefined ? undefined : host.routes[route]?.name;
  if (named !== undefined) {
    const [service = "", name] = named.split("/");
    return [{ service, route: name }];
  }
  const [, own] = OWN_HOST.exec(host.name) ?? [];
  const services = own === undefined ? new Set(host.routes.map(({ name }) => name.split("/")[0] ?? "")) : [own];
  return [...services].map((service) => ({ service, route: undefined }));
}
