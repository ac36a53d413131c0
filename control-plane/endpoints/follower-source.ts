import type { ServiceKey, ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { DiscoveryError, keyText, type RegistryIdentity, type Remark, type Source } from "../../discovery/source.ts";
import { parseRegistryInfo, type RegistryInfo } from "./registry-info.ts";
import type { SharedEndpoints } from "./shared.ts";

/** A registry that another replica watches: what that one serves, and what it says of the registry. */
export class FollowerSource implements Source {
  readonly #shared: SharedEndpoints;
  readonly #registry: string;
  readonly #direct: Source;
  /** Read once, and asked for each of thousands of services. */
  #read: { readonly text: string; readonly info: RegistryInfo } | undefined;

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
    const info = this.#info();
    if (info === undefined) throw new DiscoveryError("unreachable", "no replica watches the registry yet");
    // What was heard last says nothing of now.
    if (this.#shared.isDeaf)
      throw new DiscoveryError("unreachable", "nothing is heard of the replica that watches the registry");
    const { identity, problem } = info;
    if (problem !== undefined) throw new DiscoveryError(problem.kind, problem.message);
    return identity;
  }

  remark(key: ServiceKey): Remark | undefined {
    return this.#info()?.services?.[keyText(key)];
  }

  async close(): Promise<void> {
    await this.#direct.close();
  }

  /** What whoever watches the registry says of it now; undefined while nobody does. */
  #info(): RegistryInfo | undefined {
    const text = this.#shared.watcher(this.#registry)?.info;
    if (text === undefined) return undefined;
    if (this.#read?.text !== text) this.#read = { text, info: parseRegistryInfo(text) };
    return this.#read.info;
  }
}
