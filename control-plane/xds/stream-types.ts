import { type ServedType, servedTypeByUrl } from "#proto/resource-types.ts";

import { type Refusal, typeOfRequest } from "./admission.ts";
import { servedSet } from "./answers.ts";
import type { Client } from "./client.ts";
import type { XdsLimits } from "./limits.ts";
import { inOrder, newOrder, type Order } from "./order.ts";
import { outstanding, resourceStatuses } from "./progress.ts";
import type { IncomingRequest, StreamProtocol } from "./protocol.ts";
import type { Outstanding, ResourceStatus, StreamReport } from "./status.ts";
import { streamReport } from "./stream-report.ts";
import { isWaiting, newSubscription, type Subscription } from "./subscription.ts";
import { type WantedResource, wantedResources } from "./wanted-resources.ts";
import { viewOf } from "./whole-routes.ts";

const UNKNOWN_TYPE_LENGTH_MAX = 200;

/** The resource types that one stream has asked for: what it knows and wants of each, and what is told of that. It does no I/O. */
export class StreamTypes {
  readonly order: Order = newOrder();
  readonly #protocol: StreamProtocol;
  readonly #onlyType: ServedType | undefined;
  readonly #unknown = new Set<string>();

  /** @param onlyType the one type of a separate service; undefined on ADS */
  constructor(protocol: StreamProtocol, onlyType: ServedType | undefined) {
    this.#protocol = protocol;
    this.#onlyType = onlyType;
  }

  /** All subscriptions, in the order in which they are served. */
  get subscriptions(): readonly Subscription[] {
    return inOrder(this.order);
  }

  /** Whether anything waits to be sent. */
  get waiting(): boolean {
    return this.subscriptions.some(isWaiting);
  }

  /** Whether all types come on this stream. */
  get aggregated(): boolean {
    return this.#onlyType === undefined;
  }

  /** Whether routes have been asked for. */
  get routesKnown(): boolean {
    const { subscriptions } = this.order;
    return subscriptions.has("RDS") || subscriptions.has("VHDS");
  }

  /** The subscription of a type that has been asked for. */
  get(typeUrl: string): Subscription | undefined {
    const type = servedTypeByUrl.get(typeUrl);
    return type && this.order.subscriptions.get(type.shortName);
  }

  /** The subscription that a request is for; "unknown" is no reason to end a stream (T4). */
  of(request: Pick<IncomingRequest, "typeUrl">, client: Client): Subscription | "unknown" | Refusal {
    const type = typeOfRequest(request, this.#onlyType, this.#protocol);
    if (type === "unknown" || "code" in type) return type;
    let sub = this.order.subscriptions.get(type.shortName);
    if (sub === undefined) {
      // Virtual hosts come on the same stream as the route configuration that they belong to, and only in delta.
      const oneByOne = client.takesVirtualHosts && this.#protocol.name === "delta" && this.#onlyType === undefined;
      this.order.subscriptions.set(type.shortName, (sub = newSubscription(type, viewOf(type, oneByOne))));
    }
    return sub;
  }

  /** Remembers a type that is not served, for reports. Returns whether it is kept. */
  noteUnknown(typeUrl: string, { unknownTypesMax }: XdsLimits): boolean {
    if (this.#unknown.size >= unknownTypesMax) return false;
    this.#unknown.add(typeUrl.slice(0, UNKNOWN_TYPE_LENGTH_MAX));
    return true;
  }

  /** A type of which a response has had no answer for longer than it may. */
  overdue(nowMs: number, { ackTimeoutMs }: XdsLimits): ServedType | undefined {
    const late = ({ inFlight }: Subscription) => inFlight !== undefined && nowMs - inFlight.sinceMs >= ackTimeoutMs;
    return this.subscriptions.find(late)?.type;
  }

  /** As operators see it. */
  report(group: Parameters<typeof streamReport>[0]): StreamReport {
    return streamReport(group, this.subscriptions, this.#unknown);
  }

  /** Everything that the client wants. */
  *wanted({ view, identity }: Client): Iterable<WantedResource> {
    for (const sub of this.subscriptions) yield* wantedResources(sub, servedSet(view, identity.gatewayGroup, sub));
  }

  outstanding(): Outstanding {
    return outstanding(this.subscriptions);
  }

  resources(typeUrl: string | undefined): Iterable<ResourceStatus> {
    return resourceStatuses(this.subscriptions, typeUrl);
  }
}
