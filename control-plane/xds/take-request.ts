import { excessOfRequest, excessOfSubscription, type Refusal } from "./admission.ts";
import { servedSet } from "./answers.ts";
import type { Client } from "./client.ts";
import type { Watcher } from "./interest.ts";
import type { IncomingRequest } from "./protocol.ts";
import type { StreamContext } from "./stream-context.ts";
import type { StreamTypes } from "./stream-types.ts";
import { rescan, type Subscription } from "./subscription.ts";
import { noteVerdict } from "./verdict.ts";

/**
 * Puts a request to the subscription that it is for: what the client knows and wants, whom the cache tells, and what becomes of the response that it
 * answers.
 *
 * @param watcher the stream, which is told of what the client wants
 * @returns why the stream must end, or whether the request does nothing but accept or refuse a response
 */
export function takeRequest(
  context: StreamContext,
  client: Client,
  { order }: StreamTypes,
  sub: Subscription,
  request: IncomingRequest,
  watcher: Watcher,
): Refusal | { readonly isMereAnswer: boolean } {
  const { now, limits } = context;
  const excess = excessOfRequest(request, limits);
  if (excess !== undefined) return excess;
  const nowMs = now();
  const outcome = request.apply(sub, client.traits, nowMs);
  const { interest } = client.audience;
  if (outcome.watchTogether !== undefined) interest.addTogether(sub.view, outcome.watchTogether, watcher);
  // A name may be in both: then it ends unsubscribed (D8).
  for (const name of outcome.watch) interest.add(sub.view, name, watcher);
  for (const name of outcome.unwatch) interest.remove(sub.view, name, watcher);
  const tooMuch = excessOfSubscription(sub, limits);
  if (tooMuch !== undefined) return tooMuch;
  const set = outcome.rescan ? servedSet(client.view, client.identity.gatewayGroup, sub) : undefined;
  if (set !== undefined) rescan(sub, set, nowMs);
  noteVerdict(context, client, order, sub, outcome, nowMs);
  return { isMereAnswer: !outcome.rescan && outcome.watch.length + outcome.unwatch.length === 0 };
}
