import { create } from "@bufbuild/protobuf";

import { type ServiceKey, ServiceKeySchema, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { DiscoveryError, LIST_MAX, type ListedService, type RegistryIdentity, type Source } from "../source.ts";
import { turn } from "../turns.ts";

import type { ClusterAccess } from "./access.ts";
import { KubernetesApi, StatusError } from "./api.ts";
import { type IpFamily, toSnapshot } from "./endpoints.ts";
import type { ReflectTimes } from "./reflect.ts";
import { Scope } from "./scope.ts";
import { type Service, toServiceInfo } from "./slices.ts";
import type { TransportTimes } from "./transport.ts";

/** Which part of a cluster to show, and how. */
export interface KubernetesSettings {
  readonly access: ClusterAccess;
  /**
   * The namespaces to watch, one pair of watches each, so that a Role per namespace suffices. Empty: the whole cluster with one pair, which
   * takes a ClusterRole. Rights needed: list and watch on `services` and on `endpointslices` of discovery.k8s.io.
   */
  readonly namespaces?: readonly string[];
  readonly ipFamily?: IpFamily;
  /** For tests. */
  readonly times?: { readonly transport?: TransportTimes; readonly reflect?: ReflectTimes };
}

/** A Kubernetes cluster as a registry: Services with the endpoints of their EndpointSlices. One connection and few watches serve all. */
export class KubernetesSource implements Source {
  readonly #settings: KubernetesSettings;
  readonly #api: KubernetesApi;
  /** By namespace, "" for the whole cluster: what is watched now, and how many ask for it. */
  readonly #scopes = new Map<string, { scope: Scope; users: number; identity: Promise<string> }>();

  constructor(settings: KubernetesSettings) {
    this.#settings = settings;
    this.#api = new KubernetesApi(settings.access, settings.times?.transport);
  }

  async *watch(key: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
    const namespace = key.namespace || this.#settings.access.namespace;
    const { namespaces = [], ipFamily = "service" } = this.#settings;
    if (namespaces.length > 0 && !namespaces.includes(namespace)) {
      const message = `namespace ${namespace} is not among those that this registry watches: ${namespaces.join(", ")}`;
      throw new DiscoveryError("bad_settings", message);
    }
    const id = `${namespace}/${key.service}`;
    const used = this.#use(namespaces.length === 0 ? "" : namespace);
    let wake: () => void = () => {};
    let changed = true;
    const stop = used.scope.onChange(id, () => {
      changed = true;
      wake();
    });
    const aborted = () => wake();
    signal.addEventListener("abort", aborted);
    try {
      await untilAborted(used.scope.ready, signal);
      const clusterIdentity = await untilAborted(used.identity, signal);
      for (;;) {
        if (signal.aborted) return;
        if (used.scope.failure !== undefined) throw used.scope.failure.error;
        if (changed) {
          // A list may have changed thousands of services at once.
          await turn();
          changed = false;
          const state = { ...used.scope.get(id), clusterIdentity };
          yield toSnapshot(key, state, { ipFamily, observedAtMs: Date.now() });
        } else {
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      }
    } catch (error) {
      // Thousands of watches may fail at once, with the connection that they share.
      await turn();
      if (!signal.aborted) throw error;
    } finally {
      signal.removeEventListener("abort", aborted);
      stop();
      this.#leave(used);
    }
  }

  async list(signal: AbortSignal): Promise<readonly ListedService[]> {
    const { namespaces = [] } = this.#settings;
    const paths =
      namespaces.length === 0
        ? ["/api/v1/services"]
        : namespaces.map((namespace) => `/api/v1/namespaces/${encodeURIComponent(namespace)}/services`);
    const found: ListedService[] = [];
    for (const path of paths) {
      let next = "";
      do {
        const query = new URLSearchParams({ limit: "500", ...(next ? { continue: next } : {}) });
        const page = await this.#api.get<{ metadata?: { continue?: string }; items?: Service[] | null }>(
          `${path}?${query.toString()}`,
          signal,
        );
        for (const { name, namespace, ports } of (page.items ?? []).map((service) => toServiceInfo(service))) {
          const key = create(ServiceKeySchema, { service: name, namespace });
          found.push({ key, tags: [], ports: ports.map((port) => port.name || String(port.port)) });
        }
        next = page.metadata?.continue ?? "";
      } while (next !== "" && found.length < LIST_MAX);
    }
    const text = ({ key }: ListedService) => `${key.service} ${key.namespace}`;
    return found.sort((a, b) => (text(a) < text(b) ? -1 : 1)).slice(0, LIST_MAX);
  }

  /**
   * Reads the server's version, and whether it has its etcd. Any answer of the API server itself counts as life: both are open to all that
   * are authenticated by default, and closed to others.
   */
  async probe(signal: AbortSignal): Promise<RegistryIdentity> {
    const { giver } = this.#settings.access.credentials;
    if (giver !== undefined) {
      // Whoever waits for credentials may wait long.
      await soon(this.#settings.access.credentials.get(signal), `${giver} has not answered for ${SOON_MS / 1000} s`);
    }
    const [version, clusterIdentity] = await Promise.all([
      this.#api.get<{ gitVersion?: string }>("/version", signal).catch(forbidden),
      this.#readIdentity(signal),
      this.#needsEtcd(signal),
    ]);
    return { clusterIdentity, version: version?.gitVersion ? `Kubernetes ${version.gitVersion}` : "" };
  }

  async close(): Promise<void> {
    for (const { scope } of this.#scopes.values()) scope.close();
    this.#scopes.clear();
    this.#api.close();
  }

  /** Its watches stay open without it, and tell of nothing. @throws DiscoveryError "unreachable" */
  async #needsEtcd(signal: AbortSignal): Promise<void> {
    try {
      await this.#api.bytes("/readyz", signal);
    } catch (error) {
      // What else it is not ready for may concern nobody here.
      const [failed] = error instanceof StatusError ? (/\[-\]etcd\S* failed/.exec(error.message) ?? []) : [];
      if (failed !== undefined) throw new DiscoveryError("unreachable", `the API server is not ready: ${failed}`);
      if (!(error instanceof StatusError)) throw error;
    }
  }

  /** The scope of a namespace, begun by whoever asks first; when it fails, whoever asks next begins another. */
  #use(namespace: string) {
    const known = this.#scopes.get(namespace);
    if (known !== undefined) {
      known.users++;
      return known;
    }
    const { times } = this.#settings;
    const scope = new Scope(this.#api, namespace === "" ? "all" : { namespace }, times?.reflect);
    const identity = this.#readIdentity(AbortSignal.timeout(IDENTITY_TIMEOUT_MS));
    // Whoever watches a service waits for it; when nobody does it concerns nobody.
    identity.catch(() => {});
    const used = { scope, users: 1, identity };
    this.#scopes.set(namespace, used);
    scope.failed.catch(() => {
      if (this.#scopes.get(namespace) === used) this.#scopes.delete(namespace);
    });
    return used;
  }

  #leave(used: { scope: Scope; users: number }): void {
    used.users--;
    if (used.users > 0) return;
    used.scope.close();
    for (const [namespace, { scope }] of this.#scopes) if (scope === used.scope) this.#scopes.delete(namespace);
  }

  /** The uid of the namespace kube-system is what a cluster is known by; "" where we may not read it. */
  async #readIdentity(signal: AbortSignal): Promise<string> {
    type Namespace = { metadata?: { uid?: string } };
    const namespace = await this.#api.get<Namespace>("/api/v1/namespaces/kube-system", signal).catch(forbidden);
    return namespace?.metadata?.uid ?? "";
  }
}

const IDENTITY_TIMEOUT_MS = 10_000;
/** Less than a probe may take. */
const SOON_MS = 2_000;

/** What `promise` gives, unless that takes too long. @throws DiscoveryError "unauthenticated", with the message */
async function soon<T>(promise: Promise<T>, message: string): Promise<T> {
  const late = Promise.withResolvers<never>();
  const timer = setTimeout(() => late.reject(new DiscoveryError("unauthenticated", message)), SOON_MS);
  return await Promise.race([promise, late.promise]).finally(() => clearTimeout(timer));
}

/** Missing rights, or a missing object, for something that is good to know and not needed. */
const forbidden = (error: unknown): undefined => {
  if (error instanceof StatusError && (error.code === 403 || error.code === 404)) return undefined;
  throw error;
};

/** `promise`, or a rejection as soon as `signal` is aborted. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  const aborted = Promise.withResolvers<never>();
  const abort = () => aborted.reject(signal.reason as Error);
  signal.addEventListener("abort", abort, { once: true });
  if (signal.aborted) abort();
  return Promise.race([promise, aborted.promise]).finally(() => signal.removeEventListener("abort", abort));
}
