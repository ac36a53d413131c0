import { create } from "@bufbuild/protobuf";
import { timestampFromMs } from "@bufbuild/protobuf/wkt";

import {
  type DiscoveryProblem,
  DiscoveryProblemSchema,
  type WatchedService,
  WatchedServiceSchema,
  WatchState,
} from "#sluice/admin/v1/discovery_service_pb.ts";

import type { ServiceKey } from "#sluice/discovery/v1/snapshot_pb.ts";

import { type Choice, choiceOf } from "../endpoints/choices.ts";
import type { Endpoints, WatchedRegistry } from "../endpoints/endpoints.ts";

/** Services that one answer shows. */
const SERVICES_MAX = 10_000;

type Report = ReturnType<WatchedRegistry["supervisor"]["reports"]> extends Iterable<infer Item> ? Item : never;
type Problem = { readonly kind: string; readonly message: string; readonly sinceMs?: number };

/** A watched service with the registry that it is of. */
export interface SelectedService {
  readonly registry: WatchedRegistry;
  readonly report: Report;
  readonly users: readonly ServiceUser[];
}

/** An upstream and what it takes of the service's endpoints. */
export interface ServiceUser extends Choice {
  /** "service/upstream" */
  readonly name: string;
}

/** The registries that are watched, in order; of one group, or with one name. */
export function watchedRegistries(endpoints: Endpoints, group: string, name: string): WatchedRegistry[] {
  return [...endpoints.registries()]
    .filter(({ gatewayGroup, registry }) =>
      group === "" || gatewayGroup === group ? name === "" || registry.name === name : false,
    )
    .sort((a, b) => compare(a.gatewayGroup, b.gatewayGroup) || compare(a.registry.name, b.registry.name));
}

/** The watched services that a request asks for, in order, at most 10,000. */
export function* selected(
  endpoints: Endpoints,
  request: { readonly gatewayGroup: string; readonly registry: string; readonly service: string },
): Iterable<SelectedService> {
  let count = 0;
  for (const registry of watchedRegistries(endpoints, request.gatewayGroup, request.registry)) {
    const reports = [...registry.supervisor.reports()].sort((a, b) => compareKeys(a.key, b.key));
    for (const report of reports) {
      if (request.service !== "" && report.key.service !== request.service) continue;
      if (++count > SERVICES_MAX) return;
      const users = endpoints
        .usersOf(registry.gatewayGroup, registry.registry.name, report.key)
        .map(({ name, discovery }) => ({ name, ...choiceOf(report.served, discovery) }));
      yield { registry, report, users };
    }
  }
}

const compare = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

const compareKeys = (a: ServiceKey, b: ServiceKey) =>
  compare(a.service, b.service) ||
  compare(a.namespace, b.namespace) ||
  compare(a.group, b.group) ||
  compare(a.cluster, b.cluster);

/** A time, as far as there is one. */
export const timeOf = (ms: number | undefined) => (ms === undefined ? undefined : timestampFromMs(ms));

/** A problem, as far as there is one. */
export function problemMessage(problem: Problem | undefined): DiscoveryProblem | undefined {
  if (problem === undefined) return undefined;
  const { kind, message, sinceMs } = problem;
  return create(DiscoveryProblemSchema, { kind, message, sinceTime: timeOf(sinceMs) });
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

/** A watched service as operators see it. */
export function serviceMessage({ registry, report, users }: SelectedService, withEndpoints: boolean): WatchedService {
  const { key, state, served, held, problem, lastEventMs, lastChangeMs } = report;
  const snapshot = withEndpoints ? served?.decode() : served?.decodeHead();
  const doubt = held && { kind: "held", message: held.reason, sinceMs: held.sinceMs };
  return create(WatchedServiceSchema, {
    ...{ gatewayGroup: registry.gatewayGroup, registry: registry.registry.name, key, state: states[state] },
    problem: problemMessage(problem ?? doubt),
    // Of an answer of the run before, when it came.
    lastEventTime: timeOf(lastEventMs) ?? snapshot?.observeTime,
    lastChangeTime: timeOf(lastChangeMs),
    endpointCount: served?.endpointCount ?? 0,
    usableCount: served?.usableCount ?? 0,
    users: users.map(({ name }) => name),
    choices: users.map(({ name, count, problem }) => ({ upstream: name, chosenCount: count, problem: problem ?? "" })),
    endpoints: snapshot?.endpoints ?? [],
    heldUntilTime: timeOf(held?.untilMs),
    revision: snapshot?.revision ?? "",
  });
}
