import { isDeepStrictEqual } from "node:util";

import type { KubernetesObject, ObjectMeta } from "./reflect.ts";
import { type ApiEndpoint, type PackedEndpoints, packEndpoints } from "./slice-endpoints.ts";

/** What is read of an EndpointSlice (discovery.k8s.io/v1). Any list may be null instead of empty. */
export interface EndpointSlice extends KubernetesObject {
  readonly addressType?: string;
  readonly ports?: readonly { name?: string | null; port?: number | null; protocol?: string | null }[] | null;
  readonly endpoints?: readonly ApiEndpoint[] | null;
}

/** What is read of a Service (v1). */
export interface Service extends KubernetesObject {
  readonly spec?: {
    type?: string;
    externalName?: string;
    ipFamilies?: readonly string[] | null;
    ports?: readonly { name?: string; port: number; protocol?: string }[] | null;
  };
}

/** A slice without what nobody asks for. */
export interface Slice {
  readonly name: string;
  readonly namespace: string;
  /** Name of its Service, in the same namespace. */
  readonly service: string;
  /** Changes when the object does, and only then. */
  readonly version: string;
  readonly family: "IPv4" | "IPv6";
  /** TCP ports only, in the slice's order. Undefined: the slice limits no ports, so that those of the Service count. */
  readonly ports: readonly { readonly name: string; readonly port: number }[] | undefined;
  readonly endpoints: PackedEndpoints;
}

/** A Service without what nobody asks for. */
export interface ServiceInfo {
  readonly name: string;
  readonly namespace: string;
  readonly version: string;
  /** TCP ports, in the Service's order. */
  readonly ports: readonly { readonly name: string; readonly port: number }[];
  /** Of the first of its IP families: the one that its cluster prefers for it. */
  readonly family: "IPv4" | "IPv6" | undefined;
  /** An alias of this DNS name, without endpoints of its own. */
  readonly externalName: string;
}

const SERVICE_NAME_LABEL = "kubernetes.io/service-name";

/** Whether an object is the one that we had: its resourceVersion says so; without one nothing is sure. */
const versionOf = ({ uid = "", resourceVersion = "" }: ObjectMeta) =>
  resourceVersion === "" ? `${Math.random()}` : `${uid}/${resourceVersion}`;

/**
 * A slice as it is kept, or undefined for one that no Service selects endpoints with: no service label, or names instead of addresses
 * (addressType FQDN is deprecated, and nothing but DNS could follow such an endpoint). `before`: what was kept of it, which stays as far as it is the same:
 * a list of a whole cluster would otherwise replace all there is, and the garbage collector would have to look for what it replaced.
 */
export function toSlice({ metadata, addressType, ports, endpoints }: EndpointSlice, before?: Slice): Slice | undefined {
  const version = versionOf(metadata);
  const service = metadata.labels?.[SERVICE_NAME_LABEL];
  if (!service || (addressType !== "IPv4" && addressType !== "IPv6")) return undefined;
  const packed = packEndpoints(endpoints ?? []);
  const slice: Slice = {
    name: before?.name ?? metadata.name,
    namespace: before?.namespace ?? metadata.namespace ?? "",
    service: service === before?.service ? before.service : service,
    version,
    family: addressType,
    // "No ports" and "all ports" look almost alike: null means all (API reference, EndpointSlice.ports).
    ports: ports?.flatMap(({ name, port, protocol }) =>
      port && (protocol ?? "TCP") === "TCP" ? [{ name: name ?? "", port }] : [],
    ),
    endpoints: packed === before?.endpoints ? before.endpoints : packed,
  };
  return before?.version === version && saysTheSame(before, slice) ? before : slice;
}

/**
 * Whether two versions of a slice have the same endpoints, on the same ports. The versions themselves don't tell: they change with what nobody reads,
 * such as annotations, and an etcd that is restored from a backup gives those of lost changes to other ones.
 */
export const saysTheSame = (one: Slice, other: Slice): boolean =>
  one.endpoints === other.endpoints &&
  one.family === other.family &&
  one.service === other.service &&
  isDeepStrictEqual(one.ports, other.ports);

/** A Service as it is kept; the one before, if it is the same. */
export function toServiceInfo({ metadata, spec }: Service, before?: ServiceInfo): ServiceInfo {
  const version = versionOf(metadata);
  const family = spec?.ipFamilies?.[0];
  const info: ServiceInfo = {
    name: metadata.name,
    namespace: metadata.namespace ?? "",
    version,
    ports: (spec?.ports ?? [])
      .filter(({ protocol = "TCP" }) => protocol === "TCP")
      .map(({ name = "", port }) => ({ name, port })),
    family: family === "IPv4" || family === "IPv6" ? family : undefined,
    externalName: spec?.type === "ExternalName" ? (spec.externalName ?? "") : "",
  };
  return isDeepStrictEqual(before, info) ? (before ?? info) : info;
}
