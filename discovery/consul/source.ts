import { create } from "@bufbuild/protobuf";

import { type ServiceKey, ServiceKeySchema, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { DiscoveryError, LIST_MAX, type ListedService, type RegistryIdentity, type Source } from "../source.ts";
import { ConsulClient, watchConnections } from "./client.ts";
import { HINT_CONNECTIONS, watchHints } from "./hints.ts";
import { mayRead } from "./may-read.ts";
import { queryOf } from "./query.ts";
import type { ConsulSettings } from "./settings.ts";
import { QuestionSlots } from "./slots.ts";
import { watch, type WatchContext } from "./watch.ts";

const ANSWER_MS_MAX = 10_000;
/** Less than what the supervisor waits: an address that hangs is given up for the next one by whoever asked it. */
const PROBE_MS_MAX = 2_500;

/** A Consul cluster. */
export class ConsulSource implements Source {
  readonly #settings: ConsulSettings;
  readonly #client: ConsulClient;
  readonly #slots: QuestionSlots;
  readonly #context: WatchContext;
  #hinting: AbortController | undefined;
  #identity: { readonly value: Promise<string | undefined>; readonly askedMs: number } | undefined;
  /** Known once an agent told it; an agent that may not tell is asked once. */
  #version: string | undefined;

  constructor(settings: ConsulSettings) {
    this.#settings = settings;
    const forServices = (questions: number) => Math.max(1, questions - HINT_CONNECTIONS);
    this.#client = new ConsulClient(settings, (questions) => (this.#slots.capacity = forServices(questions)));
    this.#slots = new QuestionSlots(forServices(watchConnections(settings)), (crowded) => this.#hint(crowded));
    const identity = (asking: AbortSignal) => this.#clusterIdentity(asking);
    this.#context = { client: this.#client, settings, slots: this.#slots, identity };
  }

  watch(service: ServiceKey, signal: AbortSignal): AsyncIterable<ServiceSnapshot> {
    return watch(this.#context, service, signal);
  }

  async list(signal: AbortSignal): Promise<readonly ListedService[]> {
    const query = queryOf(this.#settings);
    const answer = await this.#client.ask({ path: "/v1/catalog/services", query, signal, timeoutMs: ANSWER_MS_MAX });
    const services = servicesOf(answer.body);
    if (services.length === 0 && answer.filteredByAcls) {
      throw new DiscoveryError("permission_denied", "Consul: the token lacks service:read: ACLs filtered all services");
    }
    if (services.length === 0 && !this.#client.hasToken && !(await mayRead(this.#client, "", signal))) {
      throw new DiscoveryError(
        "permission_denied",
        "Consul: without a token no services are shown: give the registry one",
      );
    }
    return services
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, LIST_MAX)
      .map(([service, tags]) => ({ key: create(ServiceKeySchema, { service }), tags: tags.toSorted(), ports: [] }));
  }

  async probe(signal: AbortSignal): Promise<RegistryIdentity> {
    const timeoutMs = PROBE_MS_MAX;
    const { body } = await this.#client.ask({ path: "/v1/status/leader", signal, timeoutMs });
    if (body === "") throw new DiscoveryError("unreachable", "Consul: the cluster has no leader");
    this.#version ??= await this.#client.ask({ path: "/v1/agent/self", signal, timeoutMs }).then(
      (answer) => versionOf(answer.body),
      (error: unknown) => {
        // A token that Consul doesn't know is good for nothing.
        if (error instanceof DiscoveryError && error.kind === "unauthenticated") throw error;
        // Needs agent:read, which watching services doesn't.
        return "Consul";
      },
    );
    return { clusterIdentity: (await this.#clusterIdentity(signal)) ?? "", version: this.#version };
  }

  async close(): Promise<void> {
    this.#hinting?.abort();
    await this.#client.close();
  }

  /**
   * The trust domain of Consul's service mesh, which a cluster draws at random when it is made, and tells everybody; "" where the mesh
   * is switched off or nobody may ask, undefined where no answer came. Watches that begin together ask once.
   */
  async #clusterIdentity(signal: AbortSignal): Promise<string | undefined> {
    const nowMs = performance.now();
    if (this.#identity === undefined || nowMs - this.#identity.askedMs > IDENTITY_MS) {
      const asking = AbortSignal.timeout(IDENTITY_MS);
      const question = { path: "/v1/connect/ca/roots", signal: asking, timeoutMs: IDENTITY_MS };
      const value = this.#client.ask(question).then(
        ({ body }) => trustDomainOf(body),
        (error: unknown) => (error instanceof DiscoveryError && error.kind !== "unreachable" ? "" : undefined),
      );
      this.#identity = { value, askedMs: nowMs };
    }
    const identity = await this.#identity.value;
    signal.throwIfAborted();
    return identity;
  }

  /** Where not every service has a question open, a few questions tell whom to ask first. */
  #hint(crowded: boolean): void {
    this.#hinting?.abort();
    this.#hinting = undefined;
    if (!crowded) return;
    this.#hinting = new AbortController();
    const hint = (service: string) => this.#slots.hint(service);
    void watchHints(this.#client, this.#settings, hint, this.#hinting.signal);
  }
}

/** An answer is good for so long, and may take so long: instances wait for it. */
const IDENTITY_MS = 2_000;

/** "11111111-2222-….consul": the first label is the cluster's own, drawn when it was made. */
function trustDomainOf(body: unknown): string {
  const domain = typeof body === "object" && body !== null && "TrustDomain" in body ? body.TrustDomain : undefined;
  return typeof domain === "string" ? domain : "";
}

function servicesOf(body: unknown): [string, string[]][] {
  const entries = typeof body === "object" && body !== null ? Object.entries(body as Record<string, unknown>) : [];
  return entries.map(([name, tags]) => [name, Array.isArray(tags) ? tags.map(String) : []]);
}

function versionOf(body: unknown): string {
  const config = typeof body === "object" && body !== null && "Config" in body ? body.Config : undefined;
  const version = typeof config === "object" && config !== null && "Version" in config ? config.Version : undefined;
  return typeof version === "string" ? `Consul ${version}` : "Consul";
}
