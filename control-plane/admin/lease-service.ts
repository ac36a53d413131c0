import { durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";
import { Code, ConnectError, type HandlerContext, type ServiceImpl } from "@connectrpc/connect";

import type { Instance, InstanceName, LeaseService } from "#sluice/discovery/v1/lease_service_pb.ts";
import { EndpointHealth, type ServiceKey } from "#sluice/discovery/v1/snapshot_pb.ts";

import { checkLease, type Lease, type LeaseName, type LeasePlace, LEASES_MAX } from "../../discovery/leases/lease.ts";
import type { LeaseTable } from "../../discovery/leases/table.ts";
import { GATEWAY_GROUP_DEFAULT } from "../model/objects.ts";
import { type Problem, quoted } from "../model/problem.ts";
import { answered } from "../store/answered.ts";
import { messageOf } from "../store/errors.ts";
import type { Store } from "../store/store.ts";
import { leaseTokenKey } from "./context.ts";
import { invalid } from "./errors.ts";
import { coversService, leaseTokenOf } from "./lease-tokens.ts";

const TTL_MS_DEFAULT = 30_000;
/** So long it is waited for a database that gives no answer. */
const KEPT_MS_MAX = 5_000;
/** Of a time to live, between two heartbeats. */
const HEARTBEAT_SHARE = 1 / 3;

/** Where the table is kept: endpoints/lease-journal.ts. */
export interface KeptLeases {
  /** Resolves when all changes of the table so far outlive the control plane. @throws what the database says */
  kept(): Promise<void>;
}

/** The registry of our own: programs report their instances, and are answered when what they said is kept. */
export function leaseService(store: Store, table: LeaseTable, journal: KeptLeases): ServiceImpl<typeof LeaseService> {
  const placeOf = (request: LeasePlace): LeasePlace => {
    const place = { gatewayGroup: request.gatewayGroup || GATEWAY_GROUP_DEFAULT, registry: request.registry };
    const found = store.state.member("registry", place.gatewayGroup, place.registry);
    const text = `registry ${place.gatewayGroup}/${place.registry}`;
    if (found === undefined) throw new ConnectError(`${text} doesn't exist`, Code.NotFound);
    if (found.kind.case !== "leases") {
      const instead = `is of kind ${found.kind.case ?? "none"}; only those of kind leases take reports`;
      throw new ConnectError(`${text} ${instead}`, Code.FailedPrecondition);
    }
    return place;
  };
  /** The registry, if the caller may do this to these instances there. @throws ConnectError */
  const permitted = (
    request: LeasePlace,
    instances: readonly { readonly service: ServiceKey }[],
    context: HandlerContext,
  ): LeasePlace => {
    const bearer = context.values.get(leaseTokenKey);
    // The administrator.
    if (bearer === "") return placeOf(request);
    const at = { gatewayGroup: request.gatewayGroup || GATEWAY_GROUP_DEFAULT, registry: request.registry };
    const token = leaseTokenOf(store, at, bearer);
    if (token === undefined) throw new ConnectError("the token is of another registry", Code.PermissionDenied);
    const other = instances.find(({ service }) => !coversService(token, service.service));
    if (other === undefined) return placeOf(request);
    const text = `the token ${token.name} is not for the service ${quoted(other.service.service)}`;
    throw new ConnectError(text, Code.PermissionDenied);
  };
  const kept = async () => {
    try {
      await answered(journal.kept(), KEPT_MS_MAX);
    } catch (error) {
      const text = `it holds, but would not outlive the control plane: ${messageOf(error)}; repeat it`;
      throw new ConnectError(text, Code.Unavailable);
    }
  };
  return {
    async report(request, context) {
      const leases = request.instances.map(toLease);
      const place = permitted(request, leases, context);
      const problems = leases.flatMap((lease, at) =>
        checkLease(lease).map(
          ({ field, message }): Problem => ({ field: `instances[${at}].${field}`, reason: "invalid_format", message }),
        ),
      );
      if (problems.length > 0) throw invalid(problems);
      if (!table.report(place, leases)) {
        throw new ConnectError(`no room: at most ${LEASES_MAX} instances can be reported`, Code.ResourceExhausted);
      }
      await kept();
      return { heartbeatInterval: intervalOf(leases) };
    },

    heartbeat(request, context) {
      const names = request.instances.map(toName);
      const { unknown, known } = table.renew(permitted(request, names, context), names);
      return {
        unknown: unknown.map(({ service, id }) => ({ service, id })),
        heartbeatInterval: intervalOf(known),
      };
    },

    async leave(request, context) {
      const names = request.instances.map(toName);
      table.leave(permitted(request, names, context), names);
      await kept();
      return {};
    },
  };
}

function toName({ service, id }: InstanceName): LeaseName {
  if (service === undefined) throw new Error("the rules of the message require a service");
  return { service, id };
}

function toLease({ name, endpoint, ttl }: Instance): Lease {
  if (name === undefined || endpoint === undefined) throw new Error("the rules of the message require both");
  const { service, id } = toName(name);
  return {
    service,
    id,
    endpoint: {
      ...endpoint,
      hostname: endpoint.hostname || id,
      health: endpoint.health === EndpointHealth.UNSPECIFIED ? EndpointHealth.HEALTHY : endpoint.health,
    },
    ttlMs: ttl === undefined ? TTL_MS_DEFAULT : Math.round(durationMs(ttl)),
  };
}

const intervalOf = (leases: readonly Lease[]) => {
  const ttlMs = leases.reduce((least, lease) => Math.min(least, lease.ttlMs), Number.POSITIVE_INFINITY);
  return durationFromMs(Math.round((ttlMs === Number.POSITIVE_INFINITY ? TTL_MS_DEFAULT : ttlMs) * HEARTBEAT_SHARE));
};
