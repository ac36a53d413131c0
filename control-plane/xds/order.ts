/**
 * Make before break, per stream (W1, W4-W6): clusters and their endpoints go before the listeners and routes that use them, each waiting
 * until the client has accepted what comes before; removals go last, in the opposite direction. What a client asks for is answered at
 * once: it knows what it needs. No wait is longer than a limit, since a client that refuses or forgets must not stop its other types; but
 * what refused routes may still use is not taken away, however long that lasts: the client serves by the routes that it had.
 */
import { type ServedType, servedTypes } from "#proto/resource-types.ts";

import type { ResourceSet } from "./cache.ts";
import type { XdsLimits } from "./limits.ts";
import { type InFlight, type Permission, type Subscription, wants } from "./subscription.ts";

type ShortName = ServedType["shortName"];

/** What decides the order of one stream's pushes. */
export interface Order {
  readonly subscriptions: Map<ShortName, Subscription>;
  /** The same, in the order in which they are served; kept by {@link inOrder}. */
  ordered: readonly Subscription[];
  /** Clusters that the client has and whose endpoints it has not accepted since, with the time from which they are waited for. */
  readonly warming: Map<string, number>;
  /** When the client last accepted listeners that it may need routes for. */
  listenersAcceptedMs: number;
}

/** A stream that has sent nothing. */
export const newOrder = (): Order => ({
  subscriptions: new Map(),
  ordered: [],
  warming: new Map(),
  listenersAcceptedMs: Number.NEGATIVE_INFINITY,
});

/** The subscriptions of a stream in the order in which they are served. */
export function inOrder(order: Order): readonly Subscription[] {
  // Subscriptions only ever come, and each has started by the time of the next look. Asked for several times for each push of each stream.
  if (order.ordered.length !== order.subscriptions.size) {
    order.ordered = servedTypes.flatMap(({ shortName }) => {
      const sub = order.subscriptions.get(shortName);
      return sub?.started ? [sub] : [];
    });
  }
  return order.ordered;
}

const updatesAlone: Permission = { updates: true, removals: false };

/**
 * What of a type may go out now; undefined if nothing may.
 *
 * @param nowMs on the clock that the subscriptions' times are from
 */
export function permit(order: Order, sub: Subscription, limits: XdsLimits, nowMs: number): Permission | undefined {
  if (sub.inFlight !== undefined) return undefined; // D14, S8
  // Nearly all that ever changes, and at once: it waits for nothing, and there is nothing to remove.
  if (sub.gone.size === 0 && (sub.type.shortName === "EDS" || sub.type.shortName === "SDS")) return updatesAlone;
  const { subscriptions, warming } = order;
  const late = sub.waitingSinceMs !== undefined && nowMs - sub.waitingSinceMs >= limits.orderTimeoutMs;
  const clusters = subscriptions.get("CDS");
  const busy = (shortName: ShortName) => isBusy(subscriptions.get(shortName), limits, nowMs);
  const busyOrLeaving = (shortName: ShortName) => busy(shortName) || (subscriptions.get(shortName)?.gone.size ?? 0) > 0;
  const refused = (...shortNames: ShortName[]) => shortNames.some((name) => isRefusing(subscriptions.get(name)));
  const followUpDue = nowMs - order.listenersAcceptedMs < limits.followUpMs;
  switch (sub.type.shortName) {
    case "CDS": {
      const inUse = (["LDS", "RDS", "VHDS"] as const).some(busyOrLeaving);
      return {
        updates: true,
        removals: !refused("LDS", "RDS", "VHDS") && (late || !(inUse || warming.size > 0 || followUpDue)),
      };
    }
    case "EDS": {
      // Endpoints never wait for clusters: they are the fast path, and Envoy accepts clusters only once it has their endpoints.
      const inUse = busyOrLeaving("CDS") || busy("LDS") || busy("RDS") || busy("VHDS");
      return { updates: true, removals: !refused("CDS", "LDS", "RDS", "VHDS") && (late || !inUse) };
    }
    case "SDS": {
      // Nor do secrets: a rotated certificate is late already, and whoever names a new one waits for it.
      const inUse = busyOrLeaving("CDS") || busyOrLeaving("LDS");
      return { updates: true, removals: !refused("CDS", "LDS") && (late || !inUse) };
    }
    case "LEDS":
    case "SRDS":
    case "RTDS":
    case "ECDS":
      // There is nothing of them that could break.
      return { updates: true, removals: true };
    case "LDS":
    case "RDS":
    case "VHDS": {
      // A first sync in several responses: routes to clusters of a later one would find none.
      if (!late && clusters?.fresh && clusters.dirty.size > 0) return undefined;
      const behindClusters = busy("CDS") || warming.size > 0;
      if (sub.type.shortName === "LDS") {
        // Nothing refers to a listener, and another may need its address: no reason to wait with its removal.
        const updates = late || sub.fresh || !behindClusters;
        return { updates, removals: updates };
      }
      // Virtual hosts go behind the route configurations that they belong to.
      const behindRoutes = sub.type.shortName === "VHDS" && busy("RDS");
      return {
        updates: late || sub.fresh || !(behindClusters || busy("LDS") || behindRoutes),
        removals: !refused("LDS") && (late || !(behindClusters || behindRoutes || busyOrLeaving("LDS") || followUpDue)),
      };
    }
  }
}

/** Whether later types should still wait for this one: it has something to send or to hear, or was refused a moment ago (W5). */
function isBusy(sub: Subscription | undefined, limits: XdsLimits, nowMs: number): boolean {
  if (sub === undefined || !sub.started) return false;
  if (sub.inFlight !== undefined || sub.dirty.size > 0 || sub.forced.size > 0 || sub.replyEvenIfEmpty) return true;
  return sub.refused && nowMs - (sub.lastNackTimeMs ?? 0) < limits.orderTimeoutMs;
}

/** Whether the client goes by an older version of something than it was sent. */
const isRefusing = (sub: Subscription | undefined): boolean =>
  sub !== undefined && (sub.refused || sub.progress.refusals.size > 0);

/**
 * A response has been written. To Envoy a cluster that changed is a new one, which warms until endpoints arrive, even if they are those
 * that it had: they are sent again, right behind the cluster (W2). To wait for its acceptance would be to wait for ever, since Envoy
 * accepts clusters once they are warm (ClusterManagerImpl::updateClusterCounts).
 *
 * @param endpoints all ClusterLoadAssignments of the stream's gateway group; each bears its cluster's name
 */
export function noteOrderSent(order: Order, sub: Subscription, endpoints: ResourceSet): void {
  const eds = order.subscriptions.get("EDS");
  if (sub.type.shortName !== "CDS" || !eds?.started) return;
  forceAgain(eds, endpoints, sub.inFlight?.changed ?? []);
}

/** The endpoints of these clusters are sent again, as far as the client wants them and there are any (W2). */
export function forceAgain(eds: Subscription, endpoints: ResourceSet, clusters: Iterable<string>): void {
  for (const name of clusters) if (wants(eds, name) && endpoints.has(name)) eds.forced.add(name);
}

/**
 * The client has answered a response: clusters that it has now are waited for until it has their endpoints too.
 * @param endpoints all ClusterLoadAssignments of the stream's gateway group; only looked at for clusters
 */
export function noteOrderSettled(
  order: Order,
  sub: Subscription,
  settled: InFlight,
  endpoints: ResourceSet | undefined,
  nowMs: number,
): void {
  const eds = order.subscriptions.get("EDS");
  switch (sub.type.shortName) {
    case "CDS":
      if (!eds?.started) break;
      for (const name of settled.changed) {
        const underWay = eds.forced.has(name) || eds.dirty.has(name) || eds.inFlight?.changed.has(name);
        // A client asks for the endpoints of a new cluster right behind its acceptance.
        if (endpoints?.has(name) && (underWay || !wants(eds, name))) order.warming.set(name, nowMs);
      }
      break;
    case "EDS":
      if (order.warming.size > 0) for (const name of settled.changed) order.warming.delete(name);
      break;
    case "LDS":
      if (settled.changed.size > 0) order.listenersAcceptedMs = nowMs;
      break;
    default:
      break;
  }
}

/** Gives up waiting for endpoints that the client doesn't ask for or accept in time. */
export function pruneWarming(order: Order, endpoints: ResourceSet, limits: XdsLimits, nowMs: number): void {
  const eds = order.subscriptions.get("EDS");
  for (const [name, sinceMs] of order.warming) {
    const wanted = eds !== undefined && wants(eds, name);
    const limitMs = wanted ? limits.orderTimeoutMs : limits.followUpMs;
    if (nowMs - sinceMs >= limitMs || !endpoints.has(name)) order.warming.delete(name);
  }
}

/** The time at which a wait ends by itself; the stream then looks again. Undefined if only an event can change anything. */
export function nextDeadline(order: Order, limits: XdsLimits, nowMs: number): number | undefined {
  const silences: number[] = [];
  const waits = [order.listenersAcceptedMs + limits.followUpMs];
  let waiting = false;
  for (const sub of inOrder(order)) {
    if (sub.inFlight !== undefined) silences.push(sub.inFlight.sinceMs + limits.ackTimeoutMs);
    if (sub.refused) waits.push((sub.lastNackTimeMs ?? 0) + limits.orderTimeoutMs);
    if (sub.waitingSinceMs === undefined) continue;
    waits.push(sub.waitingSinceMs + limits.orderTimeoutMs);
    waiting = true;
  }
  for (const sinceMs of order.warming.values())
    waits.push(sinceMs + limits.followUpMs, sinceMs + limits.orderTimeoutMs);
  let next: number | undefined;
  // With nothing to send, only silence is left to be watched.
  for (const timeMs of waiting ? [...silences, ...waits] : silences) {
    if (timeMs > nowMs && (next === undefined || timeMs < next)) next = timeMs;
  }
  return next;
}
