import { create } from "@bufbuild/protobuf";

import {
  EndpointHealth,
  type ServiceKey,
  ServiceKeySchema,
  type ServiceSnapshot,
  ServiceSnapshotSchema,
} from "#sluice/discovery/v1/snapshot_pb.ts";

import { keyText, type ListedService, type RegistryIdentity, type Source } from "../source.ts";

/** A key by service name alone. */
export const serviceKey = (service: string): ServiceKey => create(ServiceKeySchema, { service });

/** A snapshot with healthy endpoints at these addresses, each with port 80. */
export function snapshotOf(service: string, addresses: readonly string[], more: Partial<ServiceSnapshot> = {}) {
  const snapshot = create(ServiceSnapshotSchema, {
    service: { service },
    endpoints: addresses.map((address) => ({ address, port: 80, health: EndpointHealth.HEALTHY })),
  });
  return Object.assign(snapshot, more);
}

/** What a test lets a registry say. */
type Said = { readonly snapshot: ServiceSnapshot } | { readonly error: unknown };

/** A registry that says what a test tells it to, when it tells it to. */
export class ScriptedSource implements Source {
  /** How often each service's watch was begun. */
  readonly begun = new Map<string, number>();
  /** Watches that are open. */
  open = 0;
  /** What probes answer: an error is thrown, "hang" never answers. */
  probeSays: RegistryIdentity | Error | "hang" = { clusterIdentity: "", version: "test 1" };
  /** The signals that probes were given. */
  readonly probes: AbortSignal[] = [];
  closed = false;
  /** Says that what has failed may be asked again. */
  mended: () => void = () => {};
  readonly #waiting = new Map<string, { said: Said[]; wake: () => void }>();

  /** Lets the open watch of the service, or else the next one, yield or throw. */
  say(service: string, said: Said): void {
    const queue = this.#queue(service);
    queue.said.push(said);
    queue.wake();
  }

  async *watch(key: ServiceKey, signal: AbortSignal): AsyncGenerator<ServiceSnapshot> {
    const text = keyText(key);
    this.begun.set(text, (this.begun.get(text) ?? 0) + 1);
    this.open++;
    const queue = this.#queue(text);
    const onAbort = () => queue.wake();
    signal.addEventListener("abort", onAbort);
    try {
      while (!signal.aborted) {
        const said = queue.said.shift();
        if (said === undefined) {
          await new Promise<void>((resolve) => {
            queue.wake = resolve;
          });
        } else if ("error" in said) throw said.error;
        else yield { ...said.snapshot };
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.open--;
    }
  }

  onMended(tell: () => void): void {
    this.mended = tell;
  }

  async list(): Promise<readonly ListedService[]> {
    return [...this.#waiting.keys()].sort().map((service) => ({ key: serviceKey(service), tags: [], ports: [] }));
  }

  async probe(signal: AbortSignal): Promise<RegistryIdentity> {
    this.probes.push(signal);
    if (this.probeSays === "hang") return await new Promise<never>(() => {});
    if (this.probeSays instanceof Error) throw this.probeSays;
    return this.probeSays;
  }

  async close(): Promise<void> {
    this.closed = true;
  }

  #queue(service: string) {
    let queue = this.#waiting.get(service);
    if (queue === undefined) this.#waiting.set(service, (queue = { said: [], wake: () => {} }));
    return queue;
  }
}
