import { DiscoveryError } from "../source.ts";

import type { NacosConnection } from "./connection.ts";
import type { NacosServiceInfo } from "./convert.ts";
import type { NacosIdentity } from "./identity.ts";
import type { NacosMessage } from "./payload.ts";
import type { NacosServiceName } from "./poll.ts";

/**
 * In this time every subscription is made once more. A push that got lost, or a subscription that a server forgot, would else leave a service as it
 * was for good and fresh to all appearances; 5,000 services are 8 requests a second.
 */
const RENEWAL_MS = 600_000;
const RENEWAL_STEP_MS = 1_000;

/** Of two messages of one connection, either may overtake the other by so much at most: one that seems older still is new, and the server's clock was set back. */
const OVERTAKEN_MS_MAX = 10_000;

/** A service that a connection is subscribed to, for however many watches. */
export class Subscription {
  readonly name: NacosServiceName;
  readonly listeners = new Set<() => void>();
  /** The latest that is known. */
  info: NacosServiceInfo | undefined = undefined;
  /** Why it can't be followed any more: its watches are to end, and to begin anew. */
  failure: { readonly error: unknown } | undefined = undefined;

  constructor(name: NacosServiceName) {
    this.name = name;
  }

  /** A push may overtake the answer to the subscription, or an older push: what the server made earlier is not taken back. */
  accept(info: NacosServiceInfo): void {
    const olderMs = (this.info?.lastRefTime ?? 0) - (info.lastRefTime ?? 0);
    if (olderMs > 0 && olderMs <= OVERTAKEN_MS_MAX) return;
    this.info = info;
    this.#tell();
  }

  /** The first reason stands: that the connection has ended tells more than what then becomes of its requests. */
  fail(error: unknown): void {
    this.failure ??= { error };
    this.#tell();
  }

  #tell(): void {
    for (const listener of this.listeners) listener();
  }
}

/** What one connection is subscribed to. It is gone with it: the next connection gets subscriptions of its own. */
export class Subscriptions {
  readonly #identity: NacosIdentity;
  readonly #byService = new Map<string, Subscription>();
  /**
   * The last request to subscribe or to unsubscribe that is under way, by service. The server works on several at once: one that unsubscribes, overtaken by
   * one that subscribes anew, would leave nothing, and nobody would know.
   */
  readonly #underWay = new Map<string, Promise<void>>();
  #connection: NacosConnection | undefined;
  /** Why the connection ended, once it has. */
  #ended: { readonly error: unknown } | undefined;
  /** Renewals that are due; most of the time less than one. */
  #due = 0;

  constructor(identity: NacosIdentity) {
    this.#identity = identity;
  }

  /** From now on it can subscribe, until the connection ends: then all watches end for the same reason. */
  begin(connection: NacosConnection): void {
    this.#connection = connection;
    const renewing = setInterval(() => this.#renew(), RENEWAL_STEP_MS).unref();
    // Once for all: what a watch would leave on this promise stayed for as long as the connection lasts.
    connection.ended.catch((error: unknown) => {
      clearInterval(renewing);
      this.#ended = { error };
      for (const subscription of this.#byService.values()) subscription.fail(error);
    });
  }

  /**
   * Nacos knows one subscription per client and service, so that two watches of a service share it. It is to all clusters, of which the
   * watches take what they want. `listener` is called whenever `info` or `failure` is another.
   */
  join(name: NacosServiceName, listener: () => void): Subscription {
    const id = idOf(name);
    let subscription = this.#byService.get(id);
    if (subscription === undefined || subscription.failure !== undefined) {
      subscription = new Subscription(name);
      this.#byService.set(id, subscription);
      if (this.#ended === undefined) void this.#subscribe(subscription);
      else subscription.fail(this.#ended.error);
    }
    subscription.listeners.add(listener);
    return subscription;
  }

  /** Ends what `join` began. */
  leave(subscription: Subscription, listener: () => void): void {
    subscription.listeners.delete(listener);
    const id = idOf(subscription.name);
    if (subscription.listeners.size > 0 || this.#byService.get(id) !== subscription) return;
    this.#byService.delete(id);
    // What is pushed for it until then goes nowhere.
    void this.#inTurn(id, () => this.#unsubscribe(subscription.name));
  }

  /** Takes a push. */
  receive({ body }: NacosMessage): void {
    const { serviceInfo } = body as { serviceInfo?: NacosServiceInfo };
    if (serviceInfo?.name === undefined) return;
    // Some versions write the group before the name.
    const { name, groupName: group = "" } = serviceInfo;
    this.#byService.get(name.includes("@@") ? name : idOf({ group, service: name }))?.accept(serviceInfo);
  }

  #subscribe(subscription: Subscription): Promise<void> {
    const { name } = subscription;
    const id = idOf(name);
    return this.#inTurn(id, async () => {
      // Whoever wanted it may have left while others had their turn.
      if (this.#byService.get(id) !== subscription) return;
      const ask = () => this.#request<{ serviceInfo?: NacosServiceInfo }>(subscribeBody(name, true));
      try {
        const { serviceInfo } = await this.#identity.asking(ask);
        if (serviceInfo === undefined) throw new DiscoveryError("bad_answer", `${id}: subscribed, and told nothing`);
        subscription.accept(serviceInfo);
      } catch (error) {
        subscription.fail(error);
      }
    });
  }

  async #unsubscribe(name: NacosServiceName): Promise<void> {
    if (this.#connection?.isEnded !== false) return;
    try {
      await this.#request(subscribeBody(name, false));
    } catch (error) {
      const isLate = error instanceof DiscoveryError && error.kind === "unreachable";
      // It may still be heeded, and undo a subscription that comes after it.
      if (isLate) this.#connection.close(error);
    }
  }

  /** One request at a time for each service, in order. */
  async #inTurn(id: string, request: () => Promise<void>): Promise<void> {
    const turn = (this.#underWay.get(id) ?? Promise.resolve()).then(request);
    this.#underWay.set(id, turn);
    await turn;
    if (this.#underWay.get(id) === turn) this.#underWay.delete(id);
  }

  #request<T>(body: object): Promise<T> {
    if (this.#connection === undefined) throw new Error("subscriptions were asked for before there was a connection");
    return this.#connection.request<T>("SubscribeServiceRequest", body);
  }

  /** Makes those once more that were made longest ago: they stand first. */
  #renew(): void {
    this.#due += (this.#byService.size * RENEWAL_STEP_MS) / RENEWAL_MS;
    const few = Math.floor(this.#due);
    this.#due -= few;
    for (const [id, subscription] of [...this.#byService.entries().take(few)]) {
      this.#byService.delete(id);
      this.#byService.set(id, subscription);
      void this.#subscribe(subscription);
    }
  }
}

/** Within the namespace of the connection. */
const idOf = ({ group, service }: Pick<NacosServiceName, "group" | "service">) => `${group}@@${service}`;

const subscribeBody = ({ namespace, group, service }: NacosServiceName, subscribe: boolean) => ({
  namespace,
  groupName: group,
  serviceName: service,
  clusters: "",
  subscribe,
  module: "naming",
});
