import type { Socket } from "node:net";

import { type Endpoint, tlsOf } from "../cluster/cluster.ts";
import type { ClusterContext } from "./cluster-context.ts";
import type { Dial } from "./dial.ts";
import { Http2Pool } from "./http2-pool.ts";
import { EndpointPool } from "./pool.ts";
import type { Pool, PoolUser } from "./waiting-pool.ts";

/** Names of TLS servers that one endpoint has pools for at most: with auto_sni, clients choose them. */
const SERVER_NAMES_MAX = 100;

/** What is kept in Endpoint.pool: the pools of this worker, by priority. */
interface PoolsByPriority {
  default: EndpointPools | undefined;
  high: EndpointPools | undefined;
}

/** The pools of this worker to one endpoint, for one name of its TLS server. */
class EndpointPools {
  readonly #cluster: ClusterContext;
  readonly #endpoint: Endpoint;
  readonly #serverName: string;
  #http1: EndpointPool | undefined = undefined;
  #http2: Http2Pool | undefined = undefined;
  #auto: AutoPool | undefined = undefined;
  /** By the name that auto_sni makes of the request. */
  #named: Map<string, EndpointPools> | undefined = undefined;

  constructor(cluster: ClusterContext, endpoint: Endpoint, serverName: string) {
    this.#cluster = cluster;
    this.#endpoint = endpoint;
    this.#serverName = serverName;
  }

  get http1(): EndpointPool {
    return (this.#http1 ??= new EndpointPool(this.#cluster, this.#endpoint, this.#serverName));
  }

  get http2(): Http2Pool {
    return (this.#http2 ??= new Http2Pool(this.#cluster, this.#endpoint, this.#serverName));
  }

  get auto(): AutoPool {
    return (this.#auto ??= new AutoPool(this.#cluster, this.#endpoint, this.#serverName));
  }

  named(serverName: string): EndpointPools {
    const named = (this.#named ??= new Map());
    let pools = named.get(serverName);
    if (pools === undefined) {
      if (named.size >= SERVER_NAMES_MAX) {
        for (const [name, each] of named) if (each.isEmpty) named.delete(name);
      }
      pools = new EndpointPools(this.#cluster, this.#endpoint, serverName);
      // Where all are in use the new one serves its request only, and is forgotten.
      if (named.size < SERVER_NAMES_MAX) named.set(serverName, pools);
    }
    return pools;
  }

  get isEmpty(): boolean {
    const isEmpty = (pool: { readonly isEmpty: boolean } | undefined) => pool === undefined || pool.isEmpty;
    return isEmpty(this.#http1) && isEmpty(this.#http2) && isEmpty(this.#auto);
  }
}

/** The pool that carries a request to an endpoint. `authority`: the request's host, before it is rewritten. */
export function poolOf(
  cluster: ClusterContext,
  endpoint: Endpoint,
  clientSpeaksHttp2: boolean,
  authority: string,
): Pool {
  const both = (endpoint.pool ??= { default: undefined, high: undefined }) as PoolsByPriority;
  let pools = cluster.isHigh
    ? (both.high ??= new EndpointPools(cluster, endpoint, ""))
    : (both.default ??= new EndpointPools(cluster, endpoint, ""));
  const { settings } = cluster.cluster;
  const { protocol } = settings;
  if (tlsOf(settings, endpoint)?.autoSni === true) pools = pools.named(hostOf(authority));
  switch (protocol) {
    case "http1":
      return pools.http1;
    case "http2":
      return pools.http2;
    case "auto":
      return pools.auto;
    case "downstream":
      return clientSpeaksHttp2 ? pools.http2 : pools.http1;
  }
}

/** An authority without its port, and an IPv6 address without brackets. */
export function hostOf(authority: string): string {
  if (authority.startsWith("[")) return authority.slice(1, authority.indexOf("]"));
  const colon = authority.indexOf(":");
  return (colon < 0 ? authority : authority.slice(0, colon)).toLowerCase();
}

/** Connections to an endpoint that chooses by ALPN: each offers both protocols, and the last one's choice tells where requests wait. */
class AutoPool implements Pool {
  readonly #http1: EndpointPool;
  readonly #http2: Http2Pool;
  #speaksHttp2 = false;

  constructor(cluster: ClusterContext, endpoint: Endpoint, serverName: string) {
    this.#http1 = new EndpointPool(cluster, endpoint, serverName, (socket, dial) => this.#onHttp2(socket, dial));
    this.#http2 = new Http2Pool(cluster, endpoint, serverName, (socket, dial) => this.#onHttp1(socket, dial));
  }

  get isEmpty(): boolean {
    return this.#http1.isEmpty && this.#http2.isEmpty;
  }

  acquire(user: PoolUser): void {
    (this.#speaksHttp2 ? this.#http2 : this.#http1).acquire(user);
  }

  cancel(user: PoolUser): void {
    this.#http1.cancel(user);
    this.#http2.cancel(user);
  }

  #onHttp2(socket: Socket, dial: Dial): void {
    this.#speaksHttp2 = true;
    this.#http2.adopt(socket, dial);
    for (const user of this.#http1.takeWaiting()) this.#http2.acquire(user);
  }

  #onHttp1(socket: Socket, dial: Dial): void {
    this.#speaksHttp2 = false;
    this.#http1.adopt(socket, dial);
    for (const user of this.#http2.takeWaiting()) this.#http1.acquire(user);
  }
}
