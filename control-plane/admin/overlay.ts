import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";

import type { Service } from "#sluice/model/v1/service_pb.ts";

import type { MemberKind, ValueOf } from "../model/kinds.ts";
import { keyOf, type ObjectKey, type StoredObject, valueOf } from "../model/objects.ts";
import { ServicesByHost } from "../model/service-hosts.ts";
import type { State } from "../model/validate.ts";

/** What a write turns each object of a kind that it touches into, by name; null where it deletes it. */
type Touched = ReadonlyMap<string, StoredObject | null>;

const untouched: Touched = new Map();

/** The objects as they would be after a write: a state seen through the write's puts and deletes, at the cost of what it touches. */
export class Overlay implements State {
  readonly #before: State;
  readonly #groups = new Map<string, StoredObject | null>();
  /** By kind and gateway group. */
  readonly #members = new Map<string, Map<string, StoredObject | null>>();

  readonly #hosts = new Map<string, ServicesByHost>();

  constructor(before: State, puts: Iterable<StoredObject>, deletes: Iterable<ObjectKey>) {
    this.#before = before;
    for (const key of deletes) this.#touch(key, null);
    for (const object of puts) this.#touch(keyOf(object), object);
  }

  gatewayGroup(name: string): GatewayGroup | undefined {
    const touched = this.#groups.get(name);
    return touched === undefined ? this.#before.gatewayGroup(name) : valueOf("gatewayGroup", touched ?? undefined);
  }

  gatewayGroups(): Iterable<GatewayGroup> {
    return merged("gatewayGroup", this.#before.gatewayGroups(), this.#groups);
  }

  member<K extends MemberKind>(kind: K, gatewayGroup: string, name: string): ValueOf<K> | undefined {
    const touched = this.#members.get(placeOf(kind, gatewayGroup))?.get(name);
    if (touched === undefined) return this.#before.member(kind, gatewayGroup, name);
    return valueOf(kind, touched ?? undefined);
  }

  members<K extends MemberKind>(kind: K, gatewayGroup: string): Iterable<ValueOf<K>> {
    const touched = this.#members.get(placeOf(kind, gatewayGroup)) ?? untouched;
    return merged(kind, this.#before.members(kind, gatewayGroup), touched);
  }

  *servicesOn(gatewayGroup: string, host: string): Iterable<Service> {
    const touched = this.#members.get(placeOf("service", gatewayGroup)) ?? untouched;
    for (const service of this.#before.servicesOn(gatewayGroup, host)) {
      if (!touched.has(service.name)) yield service;
    }
    yield* this.#hostsOf(gatewayGroup, touched).on(host);
  }

  /** Where the written services of a group are; found once, when somebody asks. */
  #hostsOf(gatewayGroup: string, touched: Touched): ServicesByHost {
    let hosts = this.#hosts.get(gatewayGroup);
    if (hosts !== undefined) return hosts;
    this.#hosts.set(gatewayGroup, (hosts = new ServicesByHost()));
    for (const object of touched.values()) {
      const service = valueOf("service", object ?? undefined);
      if (service !== undefined) hosts.add(service);
    }
    return hosts;
  }

  #touch({ kind, gatewayGroup, name }: ObjectKey, object: StoredObject | null): void {
    if (kind === "gatewayGroup") {
      this.#groups.set(name, object);
      return;
    }
    const place = placeOf(kind, gatewayGroup);
    const touched = this.#members.get(place) ?? new Map<string, StoredObject | null>();
    this.#members.set(place, touched.set(name, object));
  }
}

const placeOf = (kind: MemberKind, gatewayGroup: string) => `${kind} ${gatewayGroup}`;

/** Untouched objects first, in their order, then the written ones. */
function* merged<K extends MemberKind | "gatewayGroup">(
  kind: K,
  before: Iterable<ValueOf<K>>,
  touched: Touched,
): Iterable<ValueOf<K>> {
  for (const value of before) {
    if (!touched.has(value.name)) yield value;
  }
  for (const [, object] of touched) {
    const value = valueOf(kind, object ?? undefined);
    if (value !== undefined) yield value;
  }
}
