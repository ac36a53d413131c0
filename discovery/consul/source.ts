import { create } from "@bufbuild/protobuf";

import { type ServiceKey, ServiceKeySchema, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { DiscoveryError, LIST_MAX, type ListedService, type RegistryIdentity, type Source } from "../source.ts";
import { ConsulClient } from "./client.ts";
import { queryOf } from "./query.ts";
import type { ConsulSettings } from "./settings.ts";
import { watch } from "./watch.ts";

const ANSWER_MS_MAX = 10_000;

/** A Consul cluster. */
export class ConsulSource implements Source {
  readonly #settings: ConsulSettings;
  readonly #client: ConsulClient;
  /** Known once an agent told it; an agent that may not tell is asked once. */
  #version: string | undefined;

  constructor(settings: ConsulSettings) {
    this.#settings = settings;
    this.#client = new ConsulClient(settings);
  }

  watch(service: ServiceKey, signal: AbortSignal): AsyncIterable<ServiceSnapshot> {
    return watch(this.#client, this.#settings, service, signal);
  }

  async list(signal: AbortSignal): Promise<readonly ListedService[]> {
    const query = queryOf(this.#settings);
    const answer = await this.#client.ask({ path: "/v1/catalog/services", query, signal, timeoutMs: ANSWER_MS_MAX });
    const services = servicesOf(answer.body);
    if (services.length === 0 && answer.filteredByAcls) {
      throw new DiscoveryError("permission_denied", "Consul: the token lacks service:read: ACLs filtered all services");
    }
    return services
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .slice(0, LIST_MAX)
      .map(([service, tags]) => ({ key: create(ServiceKeySchema, { service }), tags: tags.toSorted(), ports: [] }));
  }

  async probe(signal: AbortSignal): Promise<RegistryIdentity> {
    const timeoutMs = ANSWER_MS_MAX;
    const { body } = await this.#client.ask({ path: "/v1/status/leader", signal, timeoutMs });
    if (body === "") throw new DiscoveryError("unreachable", "Consul: the cluster has no leader");
    this.#version ??= await this.#client.ask({ path: "/v1/agent/self", signal, timeoutMs }).then(
      (answer) => versionOf(answer.body),
      // Needs agent:read, which watching services doesn't.
      () => "Consul",
    );
    // Nothing that Consul tells without agent:read tells two clusters apart.
    return { clusterIdentity: "", version: this.#version };
  }

  async close(): Promise<void> {
    await this.#client.close();
  }
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
