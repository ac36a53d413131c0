/** Plays one subscription against a real cache, step by step and without a network, and plays its client too. */
import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import { ResourceCache, type ResourceSet } from "../../control-plane/xds/cache.ts";
import type { Watcher } from "../../control-plane/xds/interest.ts";
import {
  newSubscription,
  noteChanges,
  noteSent,
  type Outcome,
  type Permission,
  rescan,
  type Subscription,
} from "../../control-plane/xds/subscription.ts";
import { applyDelta, type ClientTraits, takeDelta } from "../../control-plane/xds/subscription-delta.ts";
import { applySotw, takeSotw } from "../../control-plane/xds/subscription-sotw.ts";
import { resource } from "./xds-resources.ts";

const GROUP = "default";
const modern: ClientTraits = { legacyWildcard: true, namesWildcardOnReconnect: false, takesErrors: false };
/** A gRPC client (S12). */
export const grpcTraits: ClientTraits = { ...modern, legacyWildcard: false, takesErrors: true };
/** An Envoy before 1.20. */
export const oldEnvoyTraits: ClientTraits = { ...modern, namesWildcardOnReconnect: true };
const freely: Permission = { updates: true, removals: true };

/** What a response holds: "name=content version", sorted, and what it removes. */
export interface Played {
  readonly nonce: string;
  readonly version: string;
  readonly resources: Record<string, string>;
  readonly removed: string[];
  /** By errors. */
  readonly notFound: string[];
}

abstract class Player implements Watcher {
  readonly cache = new ResourceCache();
  readonly sub: Subscription;
  readonly #type: ResourceType["shortName"];
  readonly #audience = this.cache.attach(GROUP, this);
  readonly #lingers: boolean;
  #nonces = 0;

  constructor(type: ResourceType["shortName"], resources: Record<string, string>, lingers: boolean) {
    this.#type = type;
    this.sub = newSubscription(resourceType(type));
    this.#lingers = lingers;
    this.cache.update(GROUP, []);
    this.change(resources);
    this.cache.markReady();
  }

  get set(): ResourceSet {
    const set = this.cache.resources(GROUP, this.sub.type.typeUrl);
    if (set === undefined) throw new Error("the player's group exists");
    return set;
  }

  /** Writes contents by name; null removes. */
  change(contents: Record<string, string | null>): void {
    this.cache.update(
      GROUP,
      Object.entries(contents).map(([name, content]) => resource(this.#type, name, content)),
    );
  }

  /** What the cache calls content now: for comparison with what was taken. */
  version(name: string): string {
    return this.set.get(name)?.version ?? "missing";
  }

  changed(_typeUrl: string, changes: Parameters<Watcher["changed"]>[1]): void {
    noteChanges(this.sub, changes, { lingers: this.#lingers, nowMs: 0 });
  }

  groupChanged(): void {
    rescan(this.sub, this.set, 0);
  }

  protected apply(outcome: Outcome): Outcome {
    const { typeUrl } = this.sub.type;
    if (outcome.watchTogether !== undefined) this.#audience.interest.addTogether(typeUrl, outcome.watchTogether, this);
    for (const name of outcome.watch) this.#audience.interest.add(typeUrl, name, this);
    for (const name of outcome.unwatch) this.#audience.interest.remove(typeUrl, name, this);
    if (outcome.rescan) rescan(this.sub, this.set, 0);
    return outcome;
  }

  protected abstract takePush(permission: Permission, budget: number): ReturnType<typeof takeDelta>;

  /** The next response, as far as the one before is answered. */
  take(permission: Permission = freely, budget = 1_000_000): Played | undefined {
    if (this.sub.inFlight !== undefined) return undefined;
    const push = this.takePush(permission, budget);
    if (push === undefined) return undefined;
    // S14, D13: what is told by name here would hide it.
    const names = push.resources.map(({ name }) => name);
    if (new Set(names).size < names.length) throw new Error(`a response has a resource twice: ${names.join()}`);
    const nonce = `n${++this.#nonces}`;
    noteSent(this.sub, push, nonce, 0);
    const resources = Object.fromEntries(push.resources.map(({ name, version }) => [name, version]));
    return {
      nonce,
      version: push.version,
      resources,
      removed: [...push.removed],
      notFound: [...(push.notFound ?? [])],
    };
  }
}

/** A delta client's subscription. */
export class DeltaPlayer extends Player {
  readonly #traits: ClientTraits;

  constructor(type: ResourceType["shortName"], resources: Record<string, string> = {}, traits = modern) {
    super(type, resources, false);
    this.#traits = traits;
  }

  request(fields: {
    subscribe?: string[];
    unsubscribe?: string[];
    initial?: Record<string, string>;
    nonce?: string;
    refusal?: string;
  }): Outcome {
    const request = {
      resourceNamesSubscribe: fields.subscribe ?? [],
      // As of a request's bytes, whether there are other streams or not.
      sharedNames: fields.subscribe && new Set(fields.subscribe),
      resourceNamesUnsubscribe: fields.unsubscribe ?? [],
      initialResourceVersions: fields.initial ?? {},
      responseNonce: fields.nonce ?? "",
      refusal: fields.refusal,
    };
    return this.apply(applyDelta(this.sub, request, this.#traits, 0));
  }

  protected override takePush(permission: Permission, budget: number) {
    return takeDelta(this.sub, this.set, permission, budget);
  }
}

/** A state-of-the-world client's subscription. */
export class SotwPlayer extends Player {
  readonly #traits: ClientTraits;

  constructor(type: ResourceType["shortName"], resources: Record<string, string> = {}, traits = modern) {
    super(type, resources, type === "CDS" || type === "LDS");
    this.#traits = traits;
  }

  request(fields: { names?: string[]; version?: string; nonce?: string; refusal?: string }): Outcome {
    const request = {
      resourceNames: fields.names ?? [],
      versionInfo: fields.version ?? "",
      responseNonce: fields.nonce ?? "",
      refusal: fields.refusal,
    };
    return this.apply(applySotw(this.sub, request, this.#traits, 0));
  }

  protected override takePush(permission: Permission, budget: number) {
    return takeSotw(this.sub, this.set, permission, budget);
  }
}
