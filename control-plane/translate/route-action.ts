import { create } from "@bufbuild/protobuf";
import { BoolValueSchema, type Duration, durationFromMs, durationMs } from "@bufbuild/protobuf/wkt";

import {
  type RouteAction,
  type RouteAction_HashPolicy,
  RouteAction_HashPolicySchema,
  RouteActionSchema,
} from "#envoy/config/route/v3/route_components_pb.ts";
import type { Route } from "#sluice/model/v1/route_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";
import { Balance, type HashOn, PassHost, type Upstream, UpstreamProtocol } from "#sluice/model/v1/upstream_pb.ts";

import { UPSTREAM_DEFAULT } from "../model/objects.ts";
import { clusterName } from "./names.ts";
import { toMirrorPolicy } from "./mirror.ts";
import { toRetryPolicy } from "./retry.ts";

const REQUEST_TIMEOUT_MS_DEFAULT = 15_000;

/** Where a route's requests go and how, without the path's rewrite. */
export function toRouteAction(service: Service, route: Route): RouteAction {
  const name = route.upstream || UPSTREAM_DEFAULT;
  const upstream = service.upstreams.find((candidate) => candidate.name === name);
  if (upstream === undefined) throw new Error(`route ${service.name}/${route.name}: no upstream ${name}`);
  const hash = upstream.balance === Balance.CONSISTENT_HASH ? upstream.hashOn : undefined;
  const isGrpc = upstream.protocol === UpstreamProtocol.GRPC;
  const grpcMax = route.timeouts?.grpcMax ?? (isGrpc ? durationFromMs(0) : undefined);
  const timeout: Duration =
    route.timeouts?.request ??
    upstream.timeouts?.request ??
    // A call without a deadline is the client's choice.
    durationFromMs(isGrpc ? 0 : REQUEST_TIMEOUT_MS_DEFAULT);
  return create(RouteActionSchema, {
    clusterSpecifier: { case: "cluster", value: clusterName(service, name) },
    hostRewriteSpecifier: hostRewrite(upstream),
    timeout,
    idleTimeout: route.timeouts?.idle ?? upstream.timeouts?.idle,
    maxStreamDuration: grpcMax && streamDuration(grpcMax, timeout),
    retryPolicy: toRetryPolicy(upstream),
    requestMirrorPolicies: route.mirrors.map((mirror) => toMirrorPolicy(service, mirror)),
    hashPolicy: hash === undefined ? [] : [hashPolicy(hash)],
    // Listeners switch WebSocket off; only routes that say so have it.
    upgradeConfigs: route.websocket ? [{ upgradeType: "websocket", enabled: true }] : [],
  });
}

/**
 * Beside max_stream_duration data planes heed no `timeout`; requests that ask for nothing have it as the duration. 0, no limit, is said by leaving
 * it out.
 */
const streamDuration = (grpcTimeoutHeaderMax: Duration, timeout: Duration) => ({
  grpcTimeoutHeaderMax,
  ...(durationMs(timeout) > 0 && { maxStreamDuration: timeout }),
});

function hostRewrite(upstream: Upstream): RouteAction["hostRewriteSpecifier"] {
  switch (upstream.passHost) {
    case PassHost.REWRITE:
      return { case: "hostRewriteLiteral", value: upstream.upstreamHost };
    case PassHost.NODE:
      // The hostname of the endpoint that was chosen (translate/endpoints.ts).
      return { case: "autoHostRewrite", value: create(BoolValueSchema, { value: true }) };
    default:
      return { case: undefined };
  }
}

function hashPolicy({ key }: HashOn): RouteAction_HashPolicy {
  switch (key.case) {
    case "header":
      return create(RouteAction_HashPolicySchema, {
        policySpecifier: { case: "header", value: { headerName: key.value.toLowerCase() } },
      });
    case "cookie":
      // Without a lifetime: Envoy hashes a cookie that is there and makes none.
      return create(RouteAction_HashPolicySchema, { policySpecifier: { case: "cookie", value: { name: key.value } } });
    case "source":
      return create(RouteAction_HashPolicySchema, {
        policySpecifier: { case: "connectionProperties", value: { sourceIp: true } },
      });
    case "path":
      return create(RouteAction_HashPolicySchema, {
        policySpecifier: { case: "header", value: { headerName: ":path" } },
      });
    case undefined:
      throw new Error("hash_on names nothing to hash");
  }
}
