import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import { keyOf, type ObjectKey, type StoredObject } from "../model/objects.ts";
import type { State } from "../model/validate.ts";

/** What a write turns each object that it touches into; null where it deletes it. */
interface Touched<Value> {
  readonly [Symbol.iterator]: () => Iterator<[string, Value | null]>;
  get(name: string): Value | null | undefined;
  has(name: string): boolean;
}

/** The objects as they would be after a write: a state seen through the write's puts and deletes, at the cost of what it touches. */
export class Overlay implements State {
  readonly #before: State;
  readonly #groups = new Map<string, GatewayGroup | null>();
  readonly #services = new Map<string, Map<string, Service | null>>();

  constructor(before: State, puts: Iterable<StoredObject>, deletes: Iterable<ObjectKey>) {
    this.#before = before;
    for (const key of deletes) {
      if (key.kind === "gatewayGroup") this.#groups.set(key.name, null);
      else this.#servicesIn(key.gatewayGroup).set(key.name, null);
    }
    for (const object of puts) {
      const { gatewayGroup, name } = keyOf(object);
      if (object.kind === "gatewayGroup") this.#groups.set(name, object.value);
      else this.#servicesIn(gatewayGroup).set(name, object.value);
    }
  }

  gatewayGroup(name: string): GatewayGroup | undefined {
    const touched = this.#groups.get(name);
    return touched === undefined ? this.#before.gatewayGroup(name) : (touched ?? undefined);
  }

  service(gatewayGroup: string, name: string): Service | undefined {
    const touched = this.#services.get(gatewayGroup)?.get(name);
    return touched === undefined ? this.#before.service(gatewayGroup, name) : (touched ?? undefined);
  }

  servicesOf(gatewayGroup: string): Iterable<Service> {
    return merged(this.#before.servicesOf(gatewayGroup), this.#services.get(gatewayGroup) ?? new Map());
  }

  gatewayGroups(): Iterable<GatewayGroup> {
    return merged(this.#before.gatewayGroups(), this.#groups);
  }

  #servicesIn(gatewayGroup: string): Map<string, Service | null> {
    let services = this.#services.get(gatewayGroup);
    if (services === undefined) {
      services = new Map();
      this.#services.set(gatewayGroup, services);
    }
    return services;
  }
}

/** Untouched objects first, in their order, then the written ones. */
function* merged<Value extends { name: string }>(before: Iterable<Value>, touched: Touched<Value>): Iterable<Value> {
  for (const value of before) {
    if (!touched.has(value.name)) yield value;
  }
  for (const [, value] of touched) {
    if (value !== null) yield value;
  }
}
