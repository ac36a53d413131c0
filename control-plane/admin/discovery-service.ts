import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";

import {
  type DiscoveryService,
  type WatchedRegistry,
  WatchedRegistrySchema,
} from "#sluice/admin/v1/discovery_service_pb.ts";

import type { Endpoints, WatchedRegistry as Watched } from "../endpoints/endpoints.ts";
import { GATEWAY_GROUP_DEFAULT } from "../model/objects.ts";
import type { Deliver } from "./deliver.ts";
import { ServiceWatches } from "./discovery-watch.ts";
import { problemMessage, selected, serviceMessage, timeOf, watchedRegistries } from "./watched-services.ts";

/** Upstreams that one answer names for each registry. */
const USERS_MAX = 10_000;

/** What registries say, as operators see it. */
export function discoveryService(endpoints: Endpoints, deliver: Deliver): ServiceImpl<typeof DiscoveryService> {
  const watched = (group: string, name = "") => watchedRegistries(endpoints, group, name);
  const watches = new ServiceWatches(endpoints, deliver);
  return {
    listWatchedRegistries: ({ gatewayGroup, name }) => ({
      registries: watched(gatewayGroup, name).map((each) => registryMessage(each, usersOf(endpoints, each))),
    }),

    listWatchedServices: (request) => ({
      services: [...selected(endpoints, request)].map((each) => serviceMessage(each, request.endpoints)),
    }),

    watchServices: (request, context) => watches.watch(request, context),

    async listFoundServices(request, { signal }) {
      const group = request.gatewayGroup || GATEWAY_GROUP_DEFAULT;
      const [registry] = watched(group, request.registry);
      if (registry === undefined) throw new ConnectError(`no registry ${group}/${request.registry}`, Code.NotFound);
      const found = await registry.supervisor.list(signal).catch((error: unknown) => {
        // In the registry's words. Not UNAVAILABLE, which clients take for the control plane being away.
        throw new ConnectError(error instanceof Error ? error.message : String(error), Code.FailedPrecondition);
      });
      return { services: found.map(({ key, tags, ports }) => ({ key, tags: [...tags], ports: [...ports] })) };
    },
  };
}

/** The upstreams that a registry matters to. */
function usersOf(endpoints: Endpoints, { gatewayGroup, registry, supervisor }: Watched): string[] {
  const users = new Set<string>();
  for (const { key } of supervisor.reports()) {
    for (const { name } of endpoints.usersOf(gatewayGroup, registry.name, key)) users.add(name);
  }
  return [...users].sort().slice(0, USERS_MAX);
}

function registryMessage({ gatewayGroup, registry, supervisor, watcher }: Watched, users: string[]): WatchedRegistry {
  return create(WatchedRegistrySchema, {
    gatewayGroup,
    name: registry.name,
    kind: registry.kind.case ?? "",
    version: supervisor.version,
    clusterIdentity: supervisor.clusterIdentity,
    lastAnswerTime: timeOf(supervisor.lastAnswerMs),
    problem: problemMessage(supervisor.outage),
    watchedServices: supervisor.size,
    watcher,
    users,
    history: supervisor.history.map(({ timeMs, failure }) => ({
      time: timestampFromMs(timeMs),
      problem: problemMessage(failure),
    })),
  });
}
