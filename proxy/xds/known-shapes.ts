import { type ResourceType, routeConfigurationOf } from "#proto/resource-types.ts";

import { Place } from "../compile.ts";
import { Domains } from "../route/domains.ts";

import type { References } from "./references.ts";
import { type Shape, shapeOf } from "./shape-reader.ts";
import { partsByType } from "./shapes.ts";

export type { Shape } from "./shape-reader.ts";

/** Shapes are remembered until they have so many characters together; then it begins anew. A few hundred thousand like services have a few thousand. */
const CHARACTERS_MAX = 1024 * 1024;

const none: readonly string[] = [];

/** What is known of resources of one shape. */
interface KnownShape {
  readonly references: References;
  readonly items: Set<string>;
}

/**
 * Shapes of resources that were judged and found good. A resource of which they are all known is good without being decoded and judged: that takes a
 * tenth of the time, of which a first sync of tens of thousands of resources has most. Nothing is good by itself: what is unknown, or unusual, is judged.
 */
export class KnownShapes {
  readonly #byType = new Map<ResourceType, Map<string, KnownShape>>();
  #characters = 0;

  /** The shape of a resource; undefined: it can only be judged as a whole. */
  shapeOf(type: ResourceType, bytes: Uint8Array): Shape | undefined {
    const parts = partsByType[type.shortName];
    return parts && shapeOf(parts, bytes);
  }

  /** What a resource of this name and shape refers to, if it is known to be good. */
  find(type: ResourceType, name: string, shape: Shape): References | undefined {
    const known = this.#byType.get(type)?.get(shape.rest);
    if (known === undefined || shape.texts.name[0] !== name) return undefined;
    for (const item of shape.items) if (!known.items.has(item)) return undefined;
    return isWhole(type, shape) ? referencesOf(shape, known.references) : undefined;
  }

  /** A resource of this shape was found good, and refers to these. */
  add(type: ResourceType, shape: Shape, references: References): void {
    // Something names clusters that is not left out of the shape.
    if (!equal(referencesOf(shape, references).clusters, references.clusters)) return;
    let shapes = this.#byType.get(type);
    if (shapes === undefined) this.#byType.set(type, (shapes = new Map()));
    let known = shapes.get(shape.rest);
    if (known === undefined) {
      shapes.set(shape.rest, (known = { references, items: new Set() }));
      this.#characters += shape.rest.length;
    }
    for (const item of shape.items) {
      if (known.items.has(item)) continue;
      known.items.add(item);
      this.#characters += item.length;
    }
    if (this.#characters <= CHARACTERS_MAX) return;
    this.#byType.clear();
    this.#characters = 0;
  }
}

/** Whether what was left out of a shape is good together. */
function isWhole({ shortName }: ResourceType, { texts: { name, domain } }: Shape): boolean {
  if (shortName !== "VHDS") return true;
  if (domain.length === 0 || routeConfigurationOf(name[0] ?? "") === undefined) return false;
  const place = Place.root();
  const domains = new Domains<true>(false);
  for (const one of domain) domains.add(one, true, place);
  return place.problems.length === 0;
}

/** What a resource refers to of which another one of its shape refers to these. */
function referencesOf({ texts: { name, cluster, endpoints, domain } }: Shape, like: References): References {
  const [serviceName = name[0] ?? ""] = endpoints;
  return {
    ...like,
    clusters: cluster.length === 0 ? none : [...new Set(cluster)],
    // By EDS or not is no matter of names.
    endpoints: like.endpoints.length === 0 ? none : [serviceName],
    domains: domain,
  };
}

const equal = (a: readonly string[], b: readonly string[]) =>
  a.length === b.length && a.every((one, at) => one === b[at]);
