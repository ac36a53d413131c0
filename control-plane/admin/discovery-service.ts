import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";

import {
  type DiscoveryProblem,
  DiscoveryProblemSchema,
  type DiscoveryService,
  type WatchedRegistry,
  WatchedRegistrySchema,
  type WatchedService,
  WatchedServiceSchema,
  WatchState,
} from "#sluice/admin/v1/discovery_service_pb.ts";
import { EndpointHealth } from "#sluice/discovery/v1/snapshot_pb.ts";

import type { Endpoints, WatchedRegistry as Watched } from "../endpoints/endpoints.ts";
import { GATEWAY_GROUP_DEFAULT } from "../model/objects.ts";

const SERVICES_MAX = 10_000;

type Report = ReturnType<Watched["supervisor"]["reports"]> extends Iterable<infer Item> ? Item : never;
type Problem = { readonly kind: string; readonly message: string; readonly sinceMs?: number };

/** What registries say, as operators see it. */
export function discoveryService(endpoints: Endpoints): ServiceImpl<typeof DiscoveryService> {
  const watched = (group: string, name = "") =>
    [...endpoints.registries()]
      .filter(({ gatewayGroup, registry }) =>
        group === "" || gatewayGroup === group ? name === "" || registry.name === name : false,
      )
      .sort((a, b) => compare(a.gatewayGroup, b.gatewayGroup) || compare(a.registry.name, b.registry.name));
  return {
    listWatchedRegistries: ({ gatewayGroup }) => ({ registries: watched(gatewayGroup).map(registryMessage) }),

    listWatchedServices(request) {
      const services: WatchedService[] = [];
      for (const registry of watched(request.gatewayGroup, request.registry)) {
        const reports = [...registry.supervisor.reports()].sort((a, b) => compare(a.key.service, b.key.service));
        for (const report of reports) {
          if (request.service !== "" && report.key.service !== request.service) continue;
          if (services.length >= SERVICES_MAX) return { services };
          const users = endpoints.usersOf(registry.gatewayGroup, registry.registry.name, report.key);
          services.push(serviceMessage(registry, report, users, request.endpoints));
        }
      }
      return { services };
    },

    async listFoundServices(request, { signal }) {
      const group = request.gatewayGroup || GATEWAY_GROUP_DEFAULT;
      const [registry] = watched(group, request.registry);
      if (registry === undefined) throw new ConnectError(`no registry ${group}/${request.registry}`, Code.NotFound);
      const found = await registry.supervisor.list(signal).catch((error: unknown) => {
        // The registry's words are what the caller asked for.
        throw new ConnectError(error instanceof Error ? error.message : String(error), Code.Unavailable);
      });
      return { services: found.map(({ key, tags, ports }) => ({ key, tags: [...tags], ports: [...ports] })) };
    },
  };
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

const timeOf = (ms: number | undefined) => (ms === undefined ? undefined : timestampFromMs(ms));

function problemMessage(problem: Problem | undefined): DiscoveryProblem | undefined {
  if (problem === undefined) return undefined;
  const { kind, message, sinceMs } = problem;
  return create(DiscoveryProblemSchema, { kind, message, sinceTime: timeOf(sinceMs) });
}

function registryMessage({ gatewayGroup, registry, supervisor, watcher }: Watched): WatchedRegistry {
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
    history: supervisor.history.map(({ timeMs, failure }) => ({
      time: timestampFromMs(timeMs),
      problem: problemMessage(failure),
    })),
  });
}

const states: Record<Report["state"], WatchState> = {
  waiting: WatchState.WAITING,
  fresh: WatchState.FRESH,
  stale: WatchState.STALE,
  failing: WatchState.FAILING,
  permission_denied: WatchState.PERMISSION_DENIED,
  unknown_service: WatchState.UNKNOWN_SERVICE,
  held: WatchState.HELD,
};

function serviceMessage(
  { gatewayGroup, registry }: Watched,
  report: Report,
  users: readonly string[],
  withEndpoints: boolean,
): WatchedService {
  const { key, state, snapshot, held, problem, lastEventMs, lastChangeMs } = report;
  const endpoints = snapshot?.endpoints ?? [];
  const doubt = held && { kind: "held", message: held.reason, sinceMs: held.sinceMs };
  return create(WatchedServiceSchema, {
    ...{ gatewayGroup, registry: registry.name, key, state: states[state] },
    problem: problemMessage(problem ?? doubt),
    lastEventTime: timeOf(lastEventMs),
    lastChangeTime: timeOf(lastChangeMs),
    endpointCount: endpoints.length,
    usableCount: endpoints.filter(({ health, weight }) => health !== EndpointHealth.UNHEALTHY && weight !== 0).length,
    users: [...users],
    endpoints: withEndpoints ? endpoints : [],
    heldUntilTime: timeOf(held?.untilMs),
    revision: snapshot?.revision ?? "",
  });
}
