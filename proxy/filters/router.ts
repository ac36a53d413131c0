import { NumberField } from "../headers.ts";
import { isFieldValue } from "../http1/chars.ts";
import { clusterNotFound, direct, redirect, replies } from "../reply.ts";
import { inOrder } from "../route/header-mutations.ts";
import { rewriteHost } from "../route/host-rewrite.ts";
import type { ForwardAction, Route } from "../route/route.ts";
import { findCluster } from "../upstream/cluster-context.ts";
import { Forward } from "../upstream/forward.ts";
import { withMirrors } from "../upstream/mirror.ts";
import { TcpTunnel } from "../upstream/tcp-tunnel.ts";
import type { UpstreamRequest } from "../upstream/upstream-request.ts";
import type { Stream } from "./stream.ts";

const expectedTimeout = new NumberField("x-envoy-expected-rq-timeout-ms");

/** The end of every chain: finds the request's route and does what it says. Undefined: the stream has been answered. */
export function route(stream: Stream): UpstreamRequest | undefined {
  const { listener, head, table, record } = stream;
  const { stats } = listener;
  stats.rq_total.inc();
  const { matched } = stream;
  const found = matched === undefined ? table?.match(head) : matched === "none" ? undefined : matched;
  if (found === undefined) {
    stats.no_route.inc();
    stream.reply(table === undefined ? replies.routeTableNotFound : replies.routeNotFound);
    return undefined;
  }
  record.routeName = found.name;
  record.virtualHost = found.virtualHost;
  const { response } = found.mutations;
  if (response !== undefined) stream.responseMutation = response;
  const { action } = found;
  switch (action.kind) {
    case "forward":
      return forward(stream, found, action.forward);
    case "redirect": {
      // As Envoy, to which a redirect is a direct response.
      stats.rq_direct_response.inc();
      const location = action.location(head);
      if (isFieldValue(location)) stream.reply(redirect(action.status, location));
      else stream.reply(replies.pathNormalizationFailed);
      return undefined;
    }
    case "direct": {
      stats.rq_direct_response.inc();
      const location = action.location?.(head) ?? "";
      stream.reply(direct(action.status, action.body, isFieldValue(location) ? location : ""));
      return undefined;
    }
  }
}

function forward(stream: Stream, found: Route, action: ForwardAction): UpstreamRequest | undefined {
  const { head, listener } = stream;
  if (stream.upgrade !== "" && !allowsUpgrade(stream, action)) {
    listener.stats.downstream_rq_ws_on_non_ws_route.inc();
    stream.reply(replies.upgradeFailed);
    return undefined;
  }
  const choice = action.choose?.(head);
  const name = choice === undefined ? action.cluster(head) : choice.name;
  const cluster = findCluster(listener.runtime, name, action.isHighPriority === true);
  if (cluster === undefined) {
    listener.stats.no_cluster.inc();
    stream.reply(clusterNotFound(action.clusterNotFoundStatus));
    return undefined;
  }
  if (action.idleTimeoutMs !== undefined) stream.setIdleTimeout(action.idleTimeoutMs);
  const durationMs = action.streamDuration?.(head);
  if (durationMs !== undefined) stream.setMaxDuration(durationMs);
  const hash = action.hash?.(head);
  if (stream.upgrade === "CONNECT") return new TcpTunnel(stream, cluster, hash?.hash);
  const { headers } = head;
  // In Envoy's order (RouteEntryImplBase::finalizeRequestHeaders): what headers say is settled before host and path are rewritten.
  choice?.mutations.request?.(headers, stream.record);
  found.mutations.request?.(headers, stream.record);
  if (choice?.mutations.response !== undefined) {
    stream.responseMutation = inOrder([choice.mutations.response, found.mutations.response]);
  }
  if (choice?.hostRewrite !== undefined) head.authority = choice.hostRewrite;
  if (action.hostRewrite !== undefined) rewriteHost(head, action.hostRewrite, action.appendForwardedHost === true);
  const path = action.rewritePath?.(head.path);
  if (path !== undefined && path !== head.path) {
    headers.set("x-envoy-original-path", head.path);
    head.path = path;
  }
  const expectedMs = expectedTimeoutMs(action);
  if (expectedMs > 0) expectedTimeout.set(headers, expectedMs);
  stream.record.trace?.inject(headers, cluster.cluster.name);
  return withMirrors(new Forward(stream, action, cluster, hash), stream, action);
}

/** The route decides, or else the listener. Only a bare GET may be upgraded, and a CONNECT has no body. */
function allowsUpgrade({ upgrade, options, head, requestDone }: Stream, action: ForwardAction): boolean {
  if (!requestDone) return false;
  const type = upgrade.toLowerCase();
  const byRoute = action.upgrades.get(type);
  // Only a route for it says what a CONNECT becomes.
  if (type === "connect") return byRoute === true;
  const byDefault = options.upgrades.get(type);
  return byDefault !== undefined && (byRoute ?? byDefault) && head.method === "GET";
}

/** What the upstream may plan with: the time of one try, if that is bounded, else of all. */
function expectedTimeoutMs({ timeoutMs, retry }: ForwardAction): number {
  const perTryMs = retry?.perTryTimeoutMs ?? 0;
  return Math.floor(perTryMs === 0 || timeoutMs === 0 ? perTryMs || timeoutMs : Math.min(perTryMs, timeoutMs));
}
