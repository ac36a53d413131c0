import {
  create,
  createRegistry,
  type DescMessage,
  type JsonValue,
  type MessageInitShape,
  toBinary,
  toJson,
} from "@bufbuild/protobuf";
import { type Any, anyPack, timestampFromMs } from "@bufbuild/protobuf/wkt";

import { ConfigDumpSchema, SecretsConfigDumpSchema } from "#envoy/admin/v3/config_dump_pb.ts";
import {
  ClientResourceStatus,
  ClustersConfigDumpSchema,
  EndpointsConfigDumpSchema,
  ListenersConfigDumpSchema,
  RoutesConfigDumpSchema,
  type UpdateFailureStateSchema,
} from "#envoy/admin/v3/config_dump_shared_pb.ts";
import type { VirtualHost } from "#envoy/config/route/v3/route_components_pb.ts";
import type { RouteConfiguration } from "#envoy/config/route/v3/route_pb.ts";
import { redact } from "#proto/redact.ts";
import { registry } from "#proto/registry.ts";
import { type ResourceType, resourceType, routeConfigurationOf } from "#proto/resource-types.ts";

import type { RefusedVersion } from "../xds/configuration.ts";
import type { Resource } from "../xds/graph.ts";
import type { AdminSource } from "./source.ts";

/** With what the dump itself packs in Anys. */
const dumpRegistry = createRegistry(
  registry,
  ClustersConfigDumpSchema,
  EndpointsConfigDumpSchema,
  ListenersConfigDumpSchema,
  RoutesConfigDumpSchema,
  SecretsConfigDumpSchema,
);

/** What is known of one name: what is in use, what was refused last, or both. */
interface Entry {
  readonly name: string;
  readonly resource: Any | undefined;
  readonly version: string;
  readonly lastUpdated: ReturnType<typeof timestampFromMs> | undefined;
  readonly errorState: MessageInitShape<typeof UpdateFailureStateSchema> | undefined;
  readonly clientStatus: ClientResourceStatus;
}

/** The route configurations, each with the virtual hosts that came to it by VHDS, as Envoy shows them. */
function routesIn(active: AdminSource["active"]): ReadonlyMap<string, Resource> {
  const hosts = Map.groupBy(active(resourceType("VHDS")).values(), ({ name }) => routeConfigurationOf(name));
  return new Map(
    Array.from(active(resourceType("RDS")), ([name, resource]) => {
      const message = resource.message as RouteConfiguration;
      const own = (hosts.get(name) ?? []).map((host) => host.message as VirtualHost);
      return [name, { ...resource, message: { ...message, virtualHosts: [...message.virtualHosts, ...own] } }];
    }),
  );
}

/** Everything in use and what was refused since, as Envoy's /config_dump shows it (envoy.admin.v3.ConfigDump), without secrets. */
export function configDump(source: Pick<AdminSource, "active" | "refused">): JsonValue {
  const entries = (shortName: ResourceType["shortName"]) => {
    const type = resourceType(shortName);
    return entriesOf(shortName === "RDS" ? routesIn(source.active) : source.active(type), source.refused(type), type);
  };
  const configs = [
    pack(ClustersConfigDumpSchema, {
      dynamicActiveClusters: entries("CDS").map((entry) => ({ ...shared(entry), ...only("cluster", entry.resource) })),
    }),
    pack(EndpointsConfigDumpSchema, {
      dynamicEndpointConfigs: entries("EDS").map((entry) => ({
        ...shared(entry),
        ...only("endpointConfig", entry.resource),
      })),
    }),
    pack(ListenersConfigDumpSchema, {
      dynamicListeners: entries("LDS").map(({ name, resource, version, lastUpdated, errorState, clientStatus }) => ({
        name,
        clientStatus,
        ...only("errorState", errorState),
        ...(resource === undefined
          ? {}
          : { activeState: { versionInfo: version, listener: resource, ...only("lastUpdated", lastUpdated) } }),
      })),
    }),
    pack(RoutesConfigDumpSchema, {
      dynamicRouteConfigs: entries("RDS").map((entry) => ({
        ...shared(entry),
        ...only("routeConfig", entry.resource),
      })),
    }),
    pack(SecretsConfigDumpSchema, {
      dynamicActiveSecrets: entries("SDS").map((entry) => ({
        name: entry.name,
        ...shared(entry),
        ...only("secret", entry.resource),
      })),
    }),
  ];
  return toJson(ConfigDumpSchema, create(ConfigDumpSchema, { configs }), {
    registry: dumpRegistry,
    useProtoFieldName: true,
  });
}

const pack = <Desc extends DescMessage>(schema: Desc, value: MessageInitShape<Desc>): Any =>
  anyPack(schema, create(schema, value));

const only = <Name extends string, Value>(name: Name, value: Value | undefined) =>
  (value === undefined ? {} : { [name]: value }) as { [Key in Name]?: Value };

const shared = ({ version, lastUpdated, errorState, clientStatus }: Entry) => ({
  versionInfo: version,
  clientStatus,
  ...only("lastUpdated", lastUpdated),
  ...only("errorState", errorState),
});

function entriesOf(
  active: ReadonlyMap<string, Resource>,
  refused: ReadonlyMap<string, RefusedVersion>,
  type: ResourceType,
): Entry[] {
  const names = [...new Set([...active.keys(), ...refused.keys()])].sort();
  return names.map((name) => entryOf(type, name, active.get(name), refused.get(name)));
}

function entryOf(
  type: ResourceType,
  name: string,
  resource: Resource | undefined,
  refused: RefusedVersion | undefined,
): Entry {
  return {
    name,
    resource: resource && {
      $typeName: "google.protobuf.Any",
      typeUrl: type.typeUrl,
      value: toBinary(type.schema, redact(type.schema, resource.message)),
    },
    version: resource?.version ?? "",
    lastUpdated: resource && timestampFromMs(resource.updatedMs),
    errorState: refused && {
      versionInfo: refused.version,
      details: refused.details,
      lastUpdateAttempt: timestampFromMs(refused.attemptMs),
    },
    clientStatus: refused === undefined ? ClientResourceStatus.ACKED : ClientResourceStatus.NACKED,
  };
}
