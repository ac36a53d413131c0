import { type Slice, saysTheSame } from "./slices.ts";

/** The service that a slice belongs to, "namespace/name". */
export const ownerOf = (slice: Slice | undefined): string | undefined => slice && `${slice.namespace}/${slice.service}`;

/** Slices by the service that they belong to, which is a label that may change. */
export class SlicesByService {
  /** Lists, which mostly have one: a map for each of thousands of services is a megabyte. */
  readonly #byService = new Map<string, readonly Slice[]>();
  readonly #owners = new Map<string, string>();

  /** Each service's slices, in any order; none has an empty list. */
  get services(): ReadonlyMap<string, readonly Slice[]> {
    return this.#byService;
  }

  /** The slice "namespace/name". */
  get(name: string): Slice | undefined {
    const owner = this.#owners.get(name);
    const slices = owner === undefined ? undefined : this.#byService.get(owner);
    return slices?.find((slice) => `${slice.namespace}/${slice.name}` === name);
  }

  /** The service that the slice "namespace/name" belongs to. */
  owner(name: string): string | undefined {
    return this.#owners.get(name);
  }

  /** Puts a slice to its service, which is the one it belonged to before if it was there. @returns the services that changed */
  set(name: string, slice: Slice): string[] {
    const owner = `${slice.namespace}/${slice.service}`;
    const slices = this.#byService.get(owner) ?? [];
    const known = slices.find((each) => each.name === slice.name);
    this.#byService.set(owner, [...slices.filter((each) => each !== known), slice]);
    this.#owners.set(name, owner);
    return known?.version === slice.version && saysTheSame(known, slice) ? [] : [owner];
  }

  /** @returns the services that changed */
  delete(name: string): string[] {
    const owner = this.#owners.get(name);
    if (owner === undefined) return [];
    this.#owners.delete(name);
    const others = this.#byService.get(owner)?.filter((slice) => `${slice.namespace}/${slice.name}` !== name) ?? [];
    if (others.length === 0) this.#byService.delete(owner);
    else this.#byService.set(owner, others);
    return [owner];
  }
}
