import { setTimeout as sleep } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";

import { type ServiceKey, ServiceKeySchema, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { HostNames, NAMES_INTERVAL_MS, repeated } from "../host-names.ts";
import { DiscoveryError, LIST_MAX, type ListedService, type RegistryIdentity, type Source } from "../source.ts";

import { hostNamesOf, type NacosServiceInfo, toSnapshot } from "./convert.ts";
import { NacosHttp } from "./http.ts";
import { NacosIdentity } from "./identity.ts";
import { NacosPoll, type NacosServiceName } from "./poll.ts";
import { NacosPush } from "./push.ts";
import { DEFAULT_GROUP, type NacosSettings, PUBLIC_NAMESPACE, serversOf } from "./settings.ts";

/** Where servers say their version, newest first; open to all, unless an operator closed it. */
const versionPaths = ["/v3/admin/core/state", "/v2/core/cluster/node/self", "/v1/console/server/state"] as const;
/** How often a service is asked for over HTTP, and how many of these questions are asked in a second at most. */
const POLL_INTERVAL_MS = 5_000;
const POLLS_PER_SECOND_MAX = 100;
const LIST_PAGE = 500;
/** How long a server that could not push is not tried again: it may be replaced by a newer one. */
const OLD_MS = 60_000;

/** A Nacos cluster as a registry: pushes over gRPC from Nacos 2 on, questions over HTTP before. */
export class NacosSource implements Source {
  readonly #settings: NacosSettings;
  readonly #http: NacosHttp;
  readonly #identity: NacosIdentity;
  /** By namespace. */
  readonly #pushes = new Map<string, NacosPush>();
  readonly #poll: NacosPoll;
  #polls = 0;
  /** Until when a server that is too old to push is taken to be so, on the clock of performance.now(). */
  #oldUntilMs = 0;
  #version: string | undefined;

  constructor(settings: NacosSettings) {
    this.#settings = settings;
    this.#http = new NacosHttp(settings);
    this.#identity = new NacosIdentity(this.#http, settings);
    this.#poll = new NacosPoll(this.#http, this.#identity);
  }

  async *watch(key: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
    const name = this.#nameOf(key);
    if (await this.#mustPoll(signal)) {
      yield* this.#watchByPolling(key, name, signal);
      return;
    }
    const hostNames = new HostNames();
    const pushed = this.#push(name.namespace).watch(name, signal);
    const intervalMs = ({ info }: { info: NacosServiceInfo }) =>
      hostNamesOf(info).length > 0 ? NAMES_INTERVAL_MS : undefined;
    for await (const { info, moved } of repeated(pushed, intervalMs, signal)) {
      const addresses = await hostNames.resolve(hostNamesOf(info));
      yield toSnapshot(key, info, { observedAtMs: Date.now(), discontinuous: moved, addresses });
    }
  }

  async list(signal: AbortSignal): Promise<readonly ListedService[]> {
    if (await this.#mustPoll(signal)) {
      throw new DiscoveryError(
        "bad_settings",
        "services can be listed over gRPC only, which Nacos has from version 2 on",
      );
    }
    const namespace = this.#namespace;
    const groupName = this.#settings.group || DEFAULT_GROUP;
    const found: ListedService[] = [];
    for (let pageNo = 1; found.length < LIST_MAX; pageNo++) {
      signal.throwIfAborted();
      const body = { namespace, groupName, pageNo, pageSize: LIST_PAGE, selector: "", module: "naming" };
      const page = await this.#push(namespace).request<{ serviceNames?: string[] | null }>("ServiceListRequest", body);
      const names = page.serviceNames ?? [];
      for (const full of names) {
        // Some versions write the group before the name.
        const service = full.includes("@@") ? full.slice(full.indexOf("@@") + 2) : full;
        const key = create(ServiceKeySchema, { service, namespace: this.#settings.namespace ?? "", group: groupName });
        found.push({ key, tags: [], ports: [] });
      }
      if (names.length < LIST_PAGE) break;
    }
    return found.sort((a, b) => (a.key.service < b.key.service ? -1 : 1)).slice(0, LIST_MAX);
  }

  /** Nacos has nothing to tell clusters apart by. */
  async probe(signal: AbortSignal): Promise<RegistryIdentity> {
    const polls = await this.#mustPoll(signal);
    if (polls) await this.#readVersion(signal);
    else await this.#push(this.#namespace).check();
    const version = (this.#version ??= await this.#readVersion(signal).catch(() => ""));
    const name = version === "" ? "Nacos" : `Nacos ${version}`;
    return { clusterIdentity: "", version: polls ? `${name}, asked every ${this.#pollMs / 1000} s over HTTP` : name };
  }

  async close(): Promise<void> {
    for (const push of this.#pushes.values()) push.close();
    this.#pushes.clear();
    await this.#http.close();
  }

  get #namespace(): string {
    return this.#settings.namespace || PUBLIC_NAMESPACE;
  }

  #push(namespace: string): NacosPush {
    const known = this.#pushes.get(namespace);
    if (known !== undefined) return known;
    const push = new NacosPush(serversOf(this.#settings), this.#settings.tls ?? {}, namespace, this.#identity);
    this.#pushes.set(namespace, push);
    return push;
  }

  #nameOf(key: ServiceKey): NacosServiceName {
    return {
      namespace: key.namespace || this.#namespace,
      group: key.group || this.#settings.group || DEFAULT_GROUP,
      service: key.service,
      clusters: key.cluster,
    };
  }

  get #pollMs(): number {
    return Math.max(POLL_INTERVAL_MS, Math.ceil((this.#polls / POLLS_PER_SECOND_MAX) * 1000));
  }

  async *#watchByPolling(
    key: ServiceKey,
    name: NacosServiceName,
    signal: AbortSignal,
  ): AsyncGenerator<ServiceSnapshot> {
    const hostNames = new HostNames();
    this.#polls++;
    try {
      while (!signal.aborted) {
        const info = await this.#poll.instances(name, signal);
        const addresses = await hostNames.resolve(hostNamesOf(info));
        yield toSnapshot(key, info, { observedAtMs: Date.now(), addresses });
        // Not all in step.
        await sleep(this.#pollMs * (0.9 + 0.2 * Math.random()), undefined, { signal, ref: false });
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      this.#polls--;
    }
  }

  /** Whether this Nacos is to be asked over HTTP: because the settings say so, or because it is too old to push. */
  async #mustPoll(signal: AbortSignal): Promise<boolean> {
    const { protocol = "auto" } = this.#settings;
    if (protocol !== "auto") return protocol === "http";
    if (performance.now() < this.#oldUntilMs) return true;
    try {
      await this.#push(this.#namespace).check();
      return false;
    } catch (error) {
      const unreachable = error instanceof DiscoveryError && error.kind === "unreachable";
      if (!unreachable || signal.aborted) throw error;
      // A newer server that is not up yet, or whose gRPC port is closed to us, is a failure to show and not a reason to poll.
      const version = await this.#readVersion(signal).catch(() => "");
      if (!version.startsWith("1.")) throw error;
      this.#oldUntilMs = performance.now() + OLD_MS;
      return true;
    }
  }

  /** The version that the servers tell; "" if they don't. @throws {DiscoveryError} when none answers */
  async #readVersion(signal: AbortSignal): Promise<string> {
    for (const path of versionPaths) {
      const { status, text } = await this.#http.ask({ method: "GET", path, signal });
      const version = status === 200 ? /"version":"([\w.-]{1,40})"/.exec(text)?.[1] : undefined;
      if (version !== undefined) return version;
    }
    return "";
  }
}
