/**
 * From what a data plane refused back to what the operator wrote: by the names of resources (translate/names.ts), and by what the refusal
 * tells of the inside of one. Sluice's proxy tells fields by their place ("virtual_hosts[3].routes[0].match"), which the resource itself
 * turns into names; Envoy tells names, domains and clusters in its own sentences.
 */
import { servedTypeByUrl } from "#proto/resource-types.ts";

import { type Kind, objectKinds } from "../model/kinds.ts";
import type { ObjectKey } from "../model/objects.ts";
import type { Refusal } from "../xds/status.ts";
import { type RouteOwner, routesIn } from "./blame-routes.ts";

/** An object that the operator wrote, and where in it the trouble is. */
export interface BlamedObject {
  /** As databases and metrics say it: "service", "gateway_group", ... */
  readonly kind: string;
  readonly gatewayGroup: string;
  readonly name: string;
  /** In the words of a gateway file: "routes[pay]", "upstreams[default]", "listeners[http]"; empty for the whole. */
  readonly field: string;
  /** All of it as people say it: "service orders routes[pay]". */
  readonly text: string;
}

/** A resource that a data plane refused. */
export interface RefusedResource {
  readonly typeUrl: string;
  readonly name: string;
  /** In the data plane's words. */
  readonly reason: string;
  /** Whose fault that is, as far as can be told; several where they share the resource. */
  readonly objects: readonly BlamedObject[];
}

/** What is known of the resources and objects of gateway groups. */
export interface Blame {
  /** The resource as it is served now, encoded; undefined if there is none. */
  resource(group: string, typeUrl: string, name: string): Uint8Array | undefined;
  /** The registry that an upstream's endpoints come from, if they do. */
  registryOf(group: string, service: string, upstream: string): string | undefined;
}

/** Of so many resources of a response is told that they were refused. */
const RESOURCES_MAX = 20;

/** Objects that one refused resource is traced to. */
const OBJECTS_MAX = 10;

/**
 * The resources of a refused response, each with the objects behind it; those that the refusal names, or all where it names none.
 *
 * @param changed the objects that the response's revisions changed: whom to name where nothing else tells
 */
export function refusedResources(
  group: string,
  refusal: Refusal,
  blame: Blame,
  changed: readonly ObjectKey[],
): RefusedResource[] {
  const { typeUrl, names, reasons } = refusal;
  const named = reasons.size > 0 ? [...reasons] : [...names].map((name) => [name, refusal.reason] as const);
  return named.slice(0, RESOURCES_MAX).map(([name, reason]) => {
    const found = objectsBehind(group, typeUrl, name, reason, blame);
    const objects = found.length > 0 ? found : changed.filter(({ kind }) => kind === "service").map(blamed);
    const unique = new Map(objects.map((object) => [object.text, object]));
    return { typeUrl, name, reason, objects: [...unique.values()].slice(0, OBJECTS_MAX) };
  });
}

const blamed = ({ kind, gatewayGroup, name }: ObjectKey) => objectIn(kind, gatewayGroup, name);

function objectIn(kind: Kind, gatewayGroup: string, name: string, field = ""): BlamedObject {
  const { stored } = objectKinds[kind];
  const words = stored.replaceAll("_", " ");
  return { kind: stored, gatewayGroup, name, field, text: `${words} ${name}${field === "" ? "" : ` ${field}`}` };
}

function objectsBehind(group: string, typeUrl: string, name: string, reason: string, blame: Blame): BlamedObject[] {
  const owned = ({ service, route }: RouteOwner) =>
    objectIn("service", group, service, route === undefined ? "" : `routes[${route}]`);
  switch (servedTypeByUrl.get(typeUrl)?.shortName) {
    case "CDS":
      return ofCluster(group, name);
    case "EDS": {
      const [service = "", upstream = ""] = name.split("/");
      const registry = blame.registryOf(group, service, upstream);
      return [...ofCluster(group, name), ...(registry === undefined ? [] : [objectIn("registry", group, registry)])];
    }
    case "SDS":
      return ofSecrets(group, name);
    case "LDS":
      return [objectIn("gatewayGroup", group, group, `listeners[${name}]`), ...ofSecrets(group, reason)];
    case "RDS":
    case "VHDS":
      return routesIn(typeUrl, name, reason, () => blame.resource(group, typeUrl, name)).map(owned);
    default:
      return [];
  }
}

/** "SERVICE/UPSTREAM", or "collector/HOST:PORT" of a group's logs and traces. */
function ofCluster(group: string, name: string): BlamedObject[] {
  const [owner = "", rest = ""] = name.split("/");
  if (owner === "collector" && rest.includes(":")) return [objectIn("gatewayGroup", group, group)];
  return [objectIn("service", group, owner, `upstreams[${rest}]`)];
}

const SECRET = /\b(certificate|ca)\/([A-Za-z0-9](?:[\w.-]*[A-Za-z0-9])?)/g;

function ofSecrets(group: string, text: string): BlamedObject[] {
  return [...text.matchAll(SECRET)].map(([, kind, name = ""]) =>
    objectIn(kind === "ca" ? "caCertificate" : "certificate", group, name),
  );
}
