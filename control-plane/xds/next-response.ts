import { servedSet } from "./answers.ts";
import type { ResourceSet } from "./cache.ts";
import type { Client } from "./client.ts";
import type { Nonces } from "./nonces.ts";
import { noteOrderSent, type Order, permit } from "./order.ts";
import type { StreamProtocol } from "./protocol.ts";
import type { StreamContext } from "./stream-context.ts";
import { byHost, isWaiting, noteIdle, noteSent, type Subscription } from "./subscription.ts";
import { budgetOf } from "./whole-routes.ts";
import type { ResponseBytes } from "./wire.ts";

/** What responses are made with. */
interface ResponseTime {
  readonly nonces: Nonces;
  /** All ClusterLoadAssignments of the client's gateway group. */
  readonly endpoints: ResourceSet;
  readonly nowMs: number;
}

/**
 * Takes the next response of a type out of its subscription, counts it and notes it as sent.
 *
 * @returns the encoded response; undefined if there is none, or none that may go out now
 */
export function nextResponse(
  { limits, metrics }: StreamContext,
  { view, identity, connection, takesVirtualHosts }: Client,
  order: Order,
  protocol: StreamProtocol,
  sub: Subscription,
  { nonces, endpoints, nowMs }: ResponseTime,
): ResponseBytes | undefined {
  if (!byHost(sub.type) && isAtRest(sub)) return undefined;
  const set = servedSet(view, identity.gatewayGroup, sub);
  // By host, the look at what there is may have found something to say.
  if (set === undefined || isAtRest(sub)) return undefined;
  const permission = permit(order, sub, limits, nowMs);
  if (permission === undefined) return undefined;
  const queuedMs = nowMs - (sub.waitingSinceMs ?? nowMs);
  const { progress } = sub;
  const push = protocol.take(sub, set, permission, budgetOf(sub, takesVirtualHosts, limits));
  if (push === undefined) {
    const wasOwing = progress.comparing || progress.owed.size > 0;
    noteIdle(sub, set);
    // What waited turned out to be held already: nobody has to answer for it.
    if (wasOwing) connection.changed();
    return undefined;
  }
  const { typeUrl, shortName: type } = sub.type;
  const nonce = nonces.next();
  const bytes = protocol.encode({ version: push.version, typeUrl, nonce }, push);
  noteSent(sub, push, nonce, nowMs);
  noteOrderSent(order, sub, endpoints);
  const { pushes, pushedBytes, queueSeconds } = metrics.sent(type);
  pushes.add();
  pushedBytes.add(bytes.reduce((sum, { length }) => sum + length, 0));
  queueSeconds.observe(queuedMs / 1000);
  return bytes;
}

/** Most types of most streams, most of the time: there is nothing to say, nor to note. */
function isAtRest(sub: Subscription): boolean {
  const { progress } = sub;
  const isNoted = !sub.fresh && sub.waitingSinceMs === undefined && !progress.comparing && progress.owed.size === 0;
  return isNoted && !isWaiting(sub);
}
