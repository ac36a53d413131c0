import { create, fromBinary, toBinary } from "@bufbuild/protobuf";

import { type RouteConfiguration, RouteConfigurationSchema } from "#envoy/config/route/v3/route_pb.ts";
import { resourceType, routeConfigurationOf, type ServedType } from "#proto/resource-types.ts";

import { type CachedResource, cachedResource, type ResourceSet, setVersion, versionOf } from "./resource.ts";
import type { XdsLimits } from "./limits.ts";
import type { Subscription } from "./subscription.ts";
import { bodyOf, encodeField } from "./wire.ts";

/** Under this name streams watch and read route configurations with their virtual hosts in them, in place of the type URL. */
export const WHOLE_ROUTES = "route configurations with their virtual hosts";

const RDS = resourceType("RDS").typeUrl;
const VHDS = resourceType("VHDS").typeUrl;

/** What a stream reads of a type: the type URL, or WHOLE_ROUTES for RDS where the client doesn't take virtual hosts one by one. */
export const viewOf = ({ typeUrl }: ServedType, takesVirtualHosts: boolean): string =>
  typeUrl === RDS && !takesVirtualHosts ? WHOLE_ROUTES : typeUrl;

/**
 * About how many bytes of resources may be in the next response. The first virtual hosts go together: nothing on the wire says that a first answer
 * is complete, and a data plane that opened its ports with half of its hosts would answer 404.
 *
 * @param takesVirtualHosts the client said so, and with it that it takes messages of 64 MiB
 */
export const budgetOf = (
  { type, fresh }: Subscription,
  takesVirtualHosts: boolean | undefined,
  limits: XdsLimits,
): number =>
  type.shortName === "VHDS" && takesVirtualHosts === true && fresh ? limits.firstHostsBytes : limits.responseBytes;

/** The type of which a view is. */
export const typeUrlOfView = (view: string): string => (view === WHOLE_ROUTES ? RDS : view);

/** The resources of one type that whole route configurations are put together from. */
export interface RouteParts extends ResourceSet {
  keys(): Iterable<string>;
}

/**
 * The route configurations of a gateway group for clients that don't take virtual hosts one by one: each that says `vhds` holds its virtual
 * hosts itself, in the order of their names, and no longer says so. It is put together when somebody asks for it and kept until one of its
 * parts changes, so that where only native proxies are connected nobody pays for it.
 */
export class WholeRoutes implements ResourceSet {
  readonly #parts: (typeUrl: string) => RouteParts | undefined;
  readonly #made = new Map<string, CachedResource>();

  /** @param parts the group's resources of a type, now */
  constructor(parts: (typeUrl: string) => RouteParts | undefined) {
    this.#parts = parts;
  }

  get size(): number {
    return this.#parts(RDS)?.size ?? 0;
  }

  get version(): string {
    let sum = 0n;
    for (const { setHash } of this.values()) sum += setHash;
    return setVersion(sum);
  }

  has(name: string): boolean {
    return this.#parts(RDS)?.has(name) === true;
  }

  get(name: string): CachedResource | undefined {
    const made = this.#made.get(name);
    const part = this.#parts(RDS)?.get(name);
    if (made !== undefined || part === undefined) return made;
    const whole = this.#make(part);
    this.#made.set(name, whole);
    return whole;
  }

  *values(): Iterable<CachedResource> {
    for (const name of this.#parts(RDS)?.keys() ?? []) {
      const whole = this.get(name);
      if (whole !== undefined) yield whole;
    }
  }

  /** A part of a route configuration has changed, or is gone. */
  forget(name: string): void {
    this.#made.delete(name);
  }

  #make(part: CachedResource): CachedResource {
    const { vhds, ...rest } = fromBinary(RouteConfigurationSchema, bodyOf(part));
    if (vhds === undefined) return part;
    const hosts = [...(this.#parts(VHDS)?.values() ?? [])]
      .filter(({ name }) => routeConfigurationOf(name) === part.name)
      .sort((a, b) => (a.name < b.name ? -1 : 1));
    const fields = hosts.map((host) => encodeField(RouteConfigurationSchema.field.virtualHosts.number, bodyOf(host)));
    const bytes = Buffer.concat([toBinary(RouteConfigurationSchema, asMessage(rest)), ...fields]);
    return cachedResource(RDS, part.name, versionOf(bytes), bytes);
  }
}

const asMessage = (fields: Omit<RouteConfiguration, "vhds">) => create(RouteConfigurationSchema, fields);
