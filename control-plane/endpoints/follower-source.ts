import type { ServiceKey, ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import {
  DiscoveryError,
  type DiscoveryErrorKind,
  keyText,
  type RegistryIdentity,
  type Source,
} from "../../discovery/source.ts";
import type { SharedEndpoints } from "./shared.ts";

/** What the replica that watches a registry says of it, for the others. */
export interface RegistryInfo {
  readonly identity: RegistryIdentity;
  readonly problem?: { readonly kind: DiscoveryErrorKind; readonly message: string } | undefined;
}

/** A registry that another replica watches: what that one serves, and what it says of the registry. */
export class FollowerSource implements Source {
  readonly #shared: SharedEndpoints;
  readonly #registry: string;
  readonly #direct: Source;

  /** @param direct the registry itself, for what is asked once in a while */
  constructor(shared: SharedEndpoints, registry: string, direct: Source) {
    this.#shared = shared;
    this.#registry = registry;
    this.#direct = direct;
  }

  async *watch(key: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
    const service = keyText(key);
    let isChanged = false;
    let wake = () => {};
    const touch = () => {
      isChanged = true;
      wake();
    };
    const unwatch = this.#shared.watch(this.#registry, service, touch);
    signal.addEventListener("abort", touch);
    try {
      while (!signal.aborted) {
        isChanged = false;
        const snapshot = this.#shared.latest(this.#registry, service);
        if (snapshot !== undefined) yield { ...snapshot };
        if (isChanged) continue;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      signal.removeEventListener("abort", touch);
      unwatch();
    }
  }

  async list(signal: AbortSignal) {
    return await this.#direct.list(signal);
  }

  async probe(): Promise<RegistryIdentity> {
    const watcher = this.#shared.watcher(this.#registry);
    if (watcher === undefined) throw new DiscoveryError("unreachable", "no replica watches the registry yet");
    const { identity, problem } = parse(watcher.info);
    if (problem !== undefined) throw new DiscoveryError(problem.kind, problem.message);
    return identity;
  }

  async close(): Promise<void> {
    await this.#direct.close();
  }
}

/** As another replica wrote it, which may be of another version. */
function parse(info: string): RegistryInfo {
  const identity = { clusterIdentity: "", version: "" };
  try {
    return { identity, ...(JSON.parse(info) as Partial<RegistryInfo>) };
  } catch {
    return { identity };
  }
}
