import { fromBinary, type Message } from "@bufbuild/protobuf";

import { type Cluster as ClusterMessage, ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { type ClusterLoadAssignment, ClusterLoadAssignmentSchema } from "#envoy/config/endpoint/v3/endpoint_pb.ts";
import { type Listener, ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { type VirtualHost, VirtualHostSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { type RouteConfiguration, RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { type Secret as SecretMessage, SecretSchema } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { resourceTypeByUrl } from "#proto/resource-types.ts";

import { type Assignment, compileAssignment } from "./cluster/assignment.ts";
import { type ClusterConfig, compileCluster } from "./cluster/compile.ts";
import { type Compiled, type Deferred, Place, type Problem } from "./compile.ts";
import { compileListener } from "./listen/compile.ts";
import type { ListenerOptions } from "./listen/options.ts";
import { bytesOf, keep } from "./kept.ts";
import { LogSinks } from "./observe/file-sink.ts";
import { domainsOf, isOfEds } from "./outline.ts";
import { type CompiledVirtualHost, compileVirtualHostResource, type RouteSettings } from "./route/compile.ts";
import type { DeferredHosts } from "./route/deferred-hosts.ts";
import { normalDomain } from "./route/domains.ts";
import { compileRouteResource } from "./route/live-table.ts";
import type { RouteTable } from "./route/route.ts";
import { compileSecret, type Secret } from "./tls/secret.ts";

/** A resource made ready for use, or to be made so when it is first needed. */
export type Part =
  | { readonly kind: "CDS"; readonly value: ClusterConfig | Deferred<ClusterConfig> }
  | { readonly kind: "EDS"; readonly value: Deferred<Assignment> }
  | { readonly kind: "SDS"; readonly value: Secret }
  | { readonly kind: "LDS"; readonly value: ListenerOptions }
  | { readonly kind: "RDS"; readonly value: RouteTable }
  | { readonly kind: "VHDS"; readonly value: CompiledVirtualHost };

/**
 * A virtual host that has more bytes is compiled when it comes: nobody shall wait for it in the middle of requests. So many are some 150 routes,
 * and take some milliseconds.
 */
const DEFERRED_BYTES_MAX = 32 * 1024;

/** What resources are compiled with. */
export interface PartContext {
  readonly sinks: LogSinks;
  readonly hosts: DeferredHosts;
  /** Of the route configuration that a virtual host belongs to. @throws if there is none */
  settingsOf(virtualHost: string): RouteSettings;
}

/**
 * A resource as the data path takes it. Of clusters, endpoint sets and virtual hosts there may be tens of thousands, of which few are asked for: they
 * stay as they came until somebody does. The main thread has judged them all ({@link validateResource}). `bytes` may be a view of memory that the caller
 * uses otherwise later.
 * @throws if it can't be used, which is a bug; what is deferred throws when it is made
 */
export function partOf(typeUrl: string, name: string, bytes: Uint8Array, context: PartContext): Part {
  const kind = resourceTypeByUrl.get(typeUrl)?.shortName;
  const good = <Value>(compiled: Compiled<Value>): Value => {
    if (compiled.ok) return compiled.value;
    const reasons = compiled.problems.map(({ field, message }) => `${field}: ${message}`).join("; ");
    throw new Error(`${kind} ${name}: ${reasons}`);
  };
  const kept = keep(bytes);
  const own = () => bytesOf(kept);
  switch (kind) {
    case "CDS": {
      const config = () => good(compileCluster(fromBinary(ClusterSchema, own())));
      // Names are resolved before a cluster is used, so those of DNS can't wait until it is.
      return { kind, value: isOfEds(own()) ? config : config() };
    }
    case "EDS":
      return { kind, value: () => good(compileEndpoints(fromBinary(ClusterLoadAssignmentSchema, own()))) };
    case "SDS":
      return { kind, value: good(compileSecret(fromBinary(SecretSchema, own()))) };
    case "LDS":
      return { kind, value: good(compileListener(fromBinary(ListenerSchema, own()), context.sinks)) };
    case "RDS":
      return { kind, value: good(compileRouteResource(fromBinary(RouteConfigurationSchema, own()))) };
    case "VHDS": {
      const settings = context.settingsOf(name);
      const whole = () => good(compileVirtualHostResource(fromBinary(VirtualHostSchema, own()), settings));
      if (bytes.length > DEFERRED_BYTES_MAX) return { kind, value: whole() };
      const routes = context.hosts.defer(() => whole().routes);
      return { kind, value: { name, domains: domainsOf(own()).map(normalDomain), routes } };
    }
    case undefined:
      throw new Error(`${name}: the resource type ${typeUrl} is not supported`);
  }
}

const compileEndpoints = (message: ClusterLoadAssignment) => compileAssignment(message, false, Place.root());

/**
 * Compiles a resource for trial and says what is wrong with it. The main thread asks before it accepts a resource, so that workers are
 * sent only what they can use. Opens no file.
 */
export function validateResource(typeUrl: string, message: Message): readonly Problem[] {
  const compiled = compile(typeUrl, message);
  return compiled.ok ? [] : compiled.problems;
}

function compile(typeUrl: string, message: Message): Compiled<unknown> {
  switch (resourceTypeByUrl.get(typeUrl)?.shortName) {
    case "CDS":
      return compileCluster(message as ClusterMessage);
    case "EDS":
      return compileEndpoints(message as ClusterLoadAssignment);
    case "SDS":
      return compileSecret(message as SecretMessage);
    case "LDS":
      return compileListener(message as Listener, new LogSinks());
    case "RDS":
      return compileRouteResource(message as RouteConfiguration);
    case "VHDS":
      return compileVirtualHostResource(message as VirtualHost);
    case undefined:
      return { ok: false, problems: [{ field: "", message: `the resource type ${typeUrl} is not supported` }] };
  }
}
