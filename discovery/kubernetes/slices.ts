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
 * (addressType FQDN is deprecated, and nothing but DNS could follow such an endpoint).
 */
export function toSlice({ metadata, addressType, ports, endpoints }: EndpointSlice): Slice | undefined {
  const service = metadata.labels?.[SERVICE_NAME_LABEL];
  if (!service || (addressType !== "IPv4" && addressType !== "IPv6")) return undefined;
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? "",
    service,
    version: versionOf(metadata),
    family: addressType,
    // "No ports" and "all ports" look almost alike: null means all (API reference, EndpointSlice.ports).
    ports: ports?.flatMap(({ name, port, protocol }) =>
      port && (protocol ?? "TCP") === "TCP" ? [{ name: name ?? "", port }] : [],
    ),
    endpoints: packEndpoints(endpoints ?? []),
  };
}

/** A Service as it is kept. */
export function toServiceInfo({ metadata, spec }: Service): ServiceInfo {
  const family = spec?.ipFamilies?.[0];
  return {
    name: metadata.name,
    namespace: metadata.namespace ?? "",
    version: versionOf(metadata),
    ports: (spec?.ports ?? [])
      .filter(({ protocol = "TCP" }) => protocol === "TCP")
      .map(({ name = "", port }) => ({ name, port })),
    family: family === "IPv4" || family === "IPv6" ? family : undefined,
    externalName: spec?.type === "ExternalName" ? (spec.externalName ?? "") : "",
  };
}
