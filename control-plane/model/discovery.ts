import type { Registry } from "#sluice/model/v1/registry_pb.ts";
import type { Discovery } from "#sluice/model/v1/upstream_pb.ts";

import { quoted, type Report } from "./problem.ts";

type Field = "namespace" | "group" | "cluster" | "zones" | "tags" | "metadata" | "portName";
type RegistryKind = NonNullable<Registry["kind"]["case"]>;

/** What a registry of each kind can't tell services or instances apart by. */
const unfit: Record<RegistryKind, readonly Field[]> = {
  kubernetes: ["group", "cluster", "tags"],
  consul: ["portName"],
  nacos: ["tags", "portName"],
  dns: ["namespace", "group", "cluster", "zones", "tags", "metadata", "portName"],
  file: [],
  leases: [],
};

/** Reports what of an upstream's discovery doesn't fit the registry that it names. */
export function checkDiscovery(discovery: Discovery, registry: Registry, report: Report): void {
  const { kind } = registry;
  if (kind.case === undefined) return;
  const set: Record<Field, boolean> = {
    namespace: discovery.namespace !== "",
    group: discovery.group !== "",
    cluster: discovery.cluster !== "",
    zones: discovery.zones.length > 0,
    tags: discovery.tags.length > 0,
    metadata: Object.keys(discovery.metadata).length > 0,
    portName: discovery.portSpecifier.case === "portName",
  };
  for (const field of unfit[kind.case]) {
    if (!set[field]) continue;
    const said = `registry ${quoted(registry.name)} is of kind ${kind.case}, which has no such thing`;
    report(`discovery.${field}`, "not_applicable", `${said}; leave it out`);
  }
  if (kind.case === "kubernetes") {
    const { namespaces } = kind.value;
    if (namespaces.length > 0 && discovery.namespace !== "" && !namespaces.includes(discovery.namespace)) {
      const said = `registry ${quoted(registry.name)} watches ${namespaces.slice(0, 5).join(", ")}`;
      report("discovery.namespace", "unknown_namespace", `${said}; use one of these, or add it there`);
    }
  }
  const isSrv = /^_[^.]+\._[^.]+\./.test(discovery.service);
  if (kind.case === "dns" && !isSrv && discovery.portSpecifier.case === undefined) {
    const right = "addresses have no port in DNS: set it, or name SRV records (_service._proto.name)";
    report("discovery.port", "required", right);
  }
}
