import { ConsulConsistency, type ConsulRegistry, type Registry } from "#sluice/model/v1/registry_pb.ts";

import type { Consistency } from "../../discovery/consul/settings.ts";
import { ConsulSource } from "../../discovery/consul/source.ts";
import { DnsSource } from "../../discovery/dns/source.ts";
import { FileSource } from "../../discovery/file/source.ts";
import { kubernetesSource } from "../../discovery/kubernetes/registry.ts";
import { LeaseSource } from "../../discovery/leases/source.ts";
import type { LeaseTable } from "../../discovery/leases/table.ts";
import { nacosSource } from "../../discovery/nacos/registry.ts";
import { DiscoveryError, type Source } from "../../discovery/source.ts";
import type { SecretValue } from "#sluice/model/v1/secret_pb.ts";
import { resolveSecret, resolveTls } from "./secret.ts";

/** The source that a registry describes. @throws DiscoveryError "bad_settings" */
export function openSource(gatewayGroup: string, registry: Registry, leases: LeaseTable): Source {
  const { kind } = registry;
  switch (kind.case) {
    case "consul":
      return consulSource(kind.value);
    case "kubernetes":
      return kubernetesSource(kind.value, readSecret);
    case "nacos":
      return nacosSource(kind.value, readSecret);
    case "dns":
      return new DnsSource(kind.value.resolvers);
    case "file":
      return new FileSource(kind.value.path);
    case "leases":
      return new LeaseSource(leases, { gatewayGroup, registry: registry.name });
    case undefined:
      // Written by a newer version.
      throw new DiscoveryError("bad_settings", "this version knows no registries of this kind");
  }
}

const readSecret = (secret: SecretValue) => resolveSecret(secret, "a secret of the registry") ?? "";

const consistencies: ReadonlyMap<ConsulConsistency, Consistency> = new Map([
  [ConsulConsistency.STALE, "stale"],
  [ConsulConsistency.CONSISTENT, "consistent"],
]);

function consulSource(consul: ConsulRegistry): Source {
  return new ConsulSource({
    addresses: consul.addresses,
    datacenter: consul.datacenter,
    namespace: consul.namespace,
    partition: consul.partition,
    token: resolveSecret(consul.token, "consul.token"),
    consistency: consistencies.get(consul.consistency),
    cached: consul.cached,
    filter: consul.filter,
    passingOnly: consul.passingOnly,
    connectionsMax: consul.maxConnections,
    tls: resolveTls(consul.tls, "consul.tls"),
  });
}
