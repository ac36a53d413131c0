import type { ServiceKey } from "#sluice/discovery/v1/snapshot_pb.ts";

import type { ConsulSettings } from "./settings.ts";

/** The query parameters that all questions about services share; what a service names itself goes before the registry's settings. */
export function queryOf(settings: ConsulSettings, service?: ServiceKey): Record<string, string | undefined> {
  const { consistency, cached } = settings;
  return {
    dc: service?.cluster || settings.datacenter || undefined,
    ns: service?.namespace || settings.namespace || undefined,
    partition: service?.group || settings.partition || undefined,
    filter: service === undefined ? undefined : settings.filter || undefined,
    stale: consistency === "stale" ? "" : undefined,
    consistent: consistency === "consistent" ? "" : undefined,
    cached: cached === true && service !== undefined ? "" : undefined,
  };
}
