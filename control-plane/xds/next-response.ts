import { servedSet } from "./answers.ts";
import type { ResourceSet } from "./cache.ts";
import type { Client } from "./client.ts";
import { noteOrderSent, type Order, permit } from "./order.ts";
import type { StreamProtocol } from "./protocol.ts";
import type { StreamContext } from "./stream-context.ts";
import { isWaiting, noteIdle, noteSent, type Subscription } from "./subscription.ts";
import { budgetOf } from "./whole-routes.ts";
import type { ResponseBytes } from "./wire.ts";

/** What a response is made with. */
interface ResponseTime {
  /** The nonce that it gets, if there is one. */
  readonly nonce: string;
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
  { nonce, endpoints, nowMs }: ResponseTime,
): ResponseBytes | undefined {
  // First of all: the look at what there is may find something to say.
  const set = servedSet(view, identity.gatewayGroup, sub);
  if (set === undefined) return undefined;
  const { progress } = sub;
  // Most types of most streams, most of the time: there is nothing to say, nor to note.
  const isAtRest = !sub.fresh && sub.waitingSinceMs === undefined && !progress.comparing && progress.owed.size === 0;
  if (isAtRest && !isWaiting(sub)) return undefined;
  const permission = permit(order, sub, limits, nowMs);
  if (permission === undefined) return undefined;
  const queuedMs = nowMs - (sub.waitingSinceMs ?? nowMs);
  const push = protocol.take(sub, set, permission, budgetOf(sub, takesVirtualHosts, limits));
  if (push === undefined) {
    const wasOwing = progress.comparing || progress.owed.size > 0;
    noteIdle(sub, set);
    // What waited turned out to be held already: nobody has to answer for it.
    if (wasOwing) connection.changed();
    return undefined;
  }
  const { typeUrl, shortName: type } = sub.type;
  const bytes = protocol.encode({ version: push.version, typeUrl, nonce }, push);
  noteSent(sub, push, nonce, nowMs);
  noteOrderSent(order, sub, endpoints);
  metrics.pushes.add(1, type);
  metrics.queueSeconds.observe(queuedMs / 1000, type);
  for (const { length } of bytes) metrics.pushedBytes.add(length, type);
  return bytes;
}
