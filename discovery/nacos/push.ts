import { DiscoveryError } from "../source.ts";
import type { TlsSettings } from "../tls.ts";

import { ConnectionMovedError, NacosConnection } from "./connection.ts";
import type { NacosServiceInfo } from "./convert.ts";
import type { NacosIdentity } from "./identity.ts";
import type { NacosMessage } from "./payload.ts";
import type { NacosServiceName } from "./poll.ts";
import type { NacosServer } from "./settings.ts";

/** A service that a connection is subscribed to, for however many watches. */
interface Subscription {
  readonly name: NacosServiceName;
  readonly listeners: Set<() => void>;
  /** The latest that is known. */
  info: NacosServiceInfo | undefined;
  /** The answer to the request that subscribed. */
  readonly subscribed: Promise<void>;
}

/** One subscription as a watch sees it. */
export interface Subscribed {
  /** The latest that is known. */
  readonly info: NacosServiceInfo;
  /** Gives the subscription up. */
  release(): void;
}

/** A connection with its subscriptions. They are gone with it: the next connection gets new ones. */
class PushConnection {
  readonly connection: NacosConnection;
  readonly subscriptions: Map<string, Subscription>;

  constructor(connection: NacosConnection, subscriptions: Map<string, Subscription>) {
    this.connection = connection;
    this.subscriptions = subscriptions;
  }
}

/**
 * The one gRPC connection of a source to a namespace, and what it is subscribed to; the next server is tried when one doesn't answer. One
 * per namespace, since pushes don't say which namespace their service is in.
 */
export class NacosPush {
  readonly #servers: readonly NacosServer[];
  readonly #tls: TlsSettings;
  readonly #namespace: string;
  readonly #identity: NacosIdentity;
  readonly #closed = new AbortController();
  #at = 0;
  #current: Promise<PushConnection> | undefined;

  constructor(servers: readonly NacosServer[], tls: TlsSettings, namespace: string, identity: NacosIdentity) {
    this.#servers = servers;
    this.#tls = tls;
    this.#namespace = namespace;
    this.#identity = identity;
  }

  /** Sees to it that there is a connection, and that it answers. @throws {DiscoveryError} */
  async check(): Promise<NacosServer> {
    const { connection } = await this.#connected();
    await connection.request("HealthCheckRequest", { module: "internal" });
    return connection.server;
  }

  /** Asks the server that we are connected to. @throws {DiscoveryError} */
  async request<T>(type: string, body: object): Promise<T> {
    const { connection } = await this.#connected();
    return await this.#identity.asking(() => connection.request<T>(type, body));
  }

  /**
   * Yields a service's instances now and whenever they change, until `signal` is aborted.
   * `moved` says that another server answers than before, which may know more or less.
   * @throws {DiscoveryError} when the connection breaks
   */
  async *watch(
    name: NacosServiceName,
    signal: AbortSignal,
  ): AsyncGenerator<{ info: NacosServiceInfo; moved: boolean }> {
    let moved = false;
    for (;;) {
      try {
        for await (const info of this.#watchConnection(await this.#connected(), name, signal)) {
          yield { info, moved };
          moved = false;
        }
        return;
      } catch (error) {
        if (!(error instanceof ConnectionMovedError)) throw error;
        moved = true;
      }
    }
  }

  close(): void {
    this.#closed.abort(new DiscoveryError("unreachable", "the source was closed"));
    void this.#current?.then(
      ({ connection }) => connection.close(),
      () => {},
    );
  }

  async *#watchConnection(
    push: PushConnection,
    name: NacosServiceName,
    signal: AbortSignal,
  ): AsyncGenerator<NacosServiceInfo> {
    let changed = true;
    let wake: () => void = () => {};
    let failure: { error: unknown } | undefined;
    const listener = () => {
      changed = true;
      wake();
    };
    const aborted = () => wake();
    push.connection.ended.catch((error: unknown) => {
      failure = { error };
      wake();
    });
    signal.addEventListener("abort", aborted);
    const subscription = this.#subscribe(push, name, listener);
    try {
      await subscription.subscribed;
      for (;;) {
        if (signal.aborted) return;
        if (failure !== undefined) throw failure.error;
        if (changed && subscription.info !== undefined) {
          changed = false;
          yield subscription.info;
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } finally {
      signal.removeEventListener("abort", aborted);
      this.#release(push, subscription, listener);
    }
  }

  /**
   * Nacos knows one subscription per client and service, so that two watches of a service share it. It is to all clusters, of which the
   * watches take what they want.
   */
  #subscribe(push: PushConnection, name: NacosServiceName, listener: () => void): Subscription {
    const id = idOf(name);
    const known = push.subscriptions.get(id);
    if (known !== undefined) {
      known.listeners.add(listener);
      return known;
    }
    const subscribe = () =>
      push.connection.request<{ serviceInfo?: NacosServiceInfo }>("SubscribeServiceRequest", subscribeBody(name, true));
    const subscribed = this.#identity.asking(subscribe).then(({ serviceInfo }) => {
      if (serviceInfo === undefined) throw new DiscoveryError("bad_answer", `${id}: subscribed, and told nothing`);
      accept(subscription, serviceInfo);
    });
    // Whoever watches waits for it; all of them may be gone.
    subscribed.catch(() => {});
    const subscription: Subscription = { name, listeners: new Set([listener]), info: undefined, subscribed };
    push.subscriptions.set(id, subscription);
    return subscription;
  }

  #release(push: PushConnection, subscription: Subscription, listener: () => void): void {
    subscription.listeners.delete(listener);
    if (subscription.listeners.size > 0) return;
    push.subscriptions.delete(idOf(subscription.name));
    if (push.connection.isEnded) return;
    // What is pushed for it until then goes nowhere.
    push.connection.request("SubscribeServiceRequest", subscribeBody(subscription.name, false)).catch(() => undefined);
  }

  async #connected(): Promise<PushConnection> {
    for (;;) {
      this.#closed.signal.throwIfAborted();
      this.#current ??= this.#open();
      const current = this.#current;
      try {
        const push = await current;
        if (!push.connection.isEnded) return push;
        if (this.#current === current) this.#current = undefined;
      } catch (error) {
        if (this.#current === current) this.#current = undefined;
        throw error;
      }
    }
  }

  /** Tries each server once, beginning with the one after that which failed last. */
  async #open(): Promise<PushConnection> {
    let last: unknown;
    for (let attempt = 0; attempt < this.#servers.length; attempt++) {
      const server = this.#servers[this.#at++ % this.#servers.length] as NacosServer;
      const subscriptions = new Map<string, Subscription>();
      try {
        const connection = await NacosConnection.open(
          {
            server,
            tls: this.#tls,
            namespace: this.#namespace,
            headers: (about) => this.#identity.parameters(about),
            pushed: (message) => receive(subscriptions, message),
          },
          this.#closed.signal,
        );
        return new PushConnection(connection, subscriptions);
      } catch (error) {
        last = error;
      }
    }
    throw last;
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

function receive(subscriptions: ReadonlyMap<string, Subscription>, { body }: NacosMessage): void {
  const { serviceInfo } = body as { serviceInfo?: NacosServiceInfo };
  if (serviceInfo?.name === undefined) return;
  // Some versions write the group before the name.
  const { name, groupName: group = "" } = serviceInfo;
  const subscription = subscriptions.get(name.includes("@@") ? name : idOf({ group, service: name }));
  if (subscription !== undefined) accept(subscription, serviceInfo);
}

/** A push may overtake the answer to the subscription, or an older push: what the server made earlier is not taken back. */
function accept(subscription: Subscription, info: NacosServiceInfo): void {
  if ((subscription.info?.lastRefTime ?? 0) > (info.lastRefTime ?? 0)) return;
  subscription.info = info;
  for (const listener of subscription.listeners) listener();
}
