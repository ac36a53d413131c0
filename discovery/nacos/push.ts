import { DiscoveryError } from "../source.ts";
import type { TlsSettings } from "../tls.ts";

import { ConnectionMovedError, NacosConnection } from "./connection.ts";
import type { NacosServiceInfo } from "./convert.ts";
import type { NacosIdentity } from "./identity.ts";
import type { NacosServiceName } from "./poll.ts";
import type { NacosServer } from "./settings.ts";
import { Subscriptions } from "./subscriptions.ts";

/** A connection with its subscriptions. */
interface PushConnection {
  readonly connection: NacosConnection;
  readonly subscriptions: Subscriptions;
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
        for await (const info of this.#watchConnection((await this.#connected()).subscriptions, name, signal)) {
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
    subscriptions: Subscriptions,
    name: NacosServiceName,
    signal: AbortSignal,
  ): AsyncGenerator<NacosServiceInfo> {
    let changed = true;
    let wake: () => void = () => {};
    const listener = () => {
      changed = true;
      wake();
    };
    const aborted = () => wake();
    signal.addEventListener("abort", aborted);
    const subscription = subscriptions.join(name, listener);
    try {
      while (!signal.aborted) {
        if (subscription.failure !== undefined) throw subscription.failure.error;
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
      subscriptions.leave(subscription, listener);
    }
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
      const subscriptions = new Subscriptions(this.#identity);
      try {
        const connection = await NacosConnection.open(
          {
            server,
            tls: this.#tls,
            namespace: this.#namespace,
            headers: (about) => this.#identity.parameters(about),
            pushed: (message) => subscriptions.receive(message),
          },
          this.#closed.signal,
        );
        subscriptions.begin(connection);
        return { connection, subscriptions };
      } catch (error) {
        last = error;
      }
    }
    throw last;
  }
}
