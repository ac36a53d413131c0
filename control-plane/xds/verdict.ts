import { resourceType } from "#proto/resource-types.ts";

import type { Client } from "./client.ts";
import { noteOrderSettled, type Order } from "./order.ts";
import type { StreamContext } from "./stream-context.ts";
import type { Outcome, Subscription } from "./subscription.ts";

const EDS = resourceType("EDS").typeUrl;

/** Counts, logs and passes on what a request says of the response before it. */
export function noteVerdict(
  { metrics, log }: StreamContext,
  { identity: { id: node, gatewayGroup }, connection, view }: Client,
  order: Order,
  sub: Subscription,
  { verdict, settled }: Outcome,
  nowMs: number,
): void {
  const { shortName: type } = sub.type;
  if (verdict === "ack") metrics.acceptances(type).add();
  if (verdict === "nack") {
    metrics.nacks.add(1, type);
    // Once for each response, however often a client repeats itself.
    if (settled !== undefined) {
      const { changed: names, publications, version } = settled;
      const { refusals: reasons } = sub.progress;
      const { nack: reason } = sub;
      const objects = connection.refused({ typeUrl: sub.type.typeUrl, reason, names, reasons, publications });
      log.warn({ node, gatewayGroup, type, version, reason, objects }, "configuration refused");
    }
  }
  if (settled === undefined) return;
  metrics.answers(type).observe((nowMs - settled.sinceMs) / 1000);
  const endpoints = type === "CDS" ? view.resources(gatewayGroup, EDS) : undefined;
  noteOrderSettled(order, sub, settled, endpoints, nowMs);
  // W2, for a client that takes clusters on a stream of their own: by now it waits for their endpoints, wherever it takes those.
  const hasEndpoints = order.subscriptions.get("EDS")?.started === true;
  if (type === "CDS" && verdict === "ack" && !hasEndpoints) connection.clustersAccepted(settled.changed);
}
