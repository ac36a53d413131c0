import type { Slice } from "./slices.ts";

/** The service that a slice belongs to, "namespace/name". */
export const ownerOf = (slice: Slice | undefined): string | undefined => slice && `${slice.namespace}/${slice.service}`;

/** Slices by the service that they belong to, which is a label that may change. */
export class SlicesByService {
  readonly #byService = new Map<string, Map<string, Slice>>();
  readonly #owners = new Map<string, string>();

  /** Each service's slices by their names; none has an empty set. */
  get services(): ReadonlyMap<string, ReadonlyMap<string, Slice>> {
    return this.#byService;
  }

  /** The service that the slice with this name belongs to. */
  owner(name: string): string | undefined {
    return this.#owners.get(name);
  }

  /** Puts a slice to its service, which is the one it belonged to before if it was there. @returns the services that changed */
  set(name: string, slice: Slice): string[] {
    const owner = `${slice.namespace}/${slice.service}`;
    const slices = this.#byService.get(owner) ?? new Map<string, Slice>();
    const known = slices.get(name);
    this.#byService.set(owner, slices.set(name, slice));
    this.#owners.set(name, owner);
    return known?.version === slice.version ? [] : [owner];
  }

  /** @returns the services that changed */
  delete(name: string): string[] {
    const owner = this.#owners.get(name);
    if (owner === undefined) return [];
    this.#owners.delete(name);
    const slices = this.#byService.get(owner);
    slices?.delete(name);
    if (slices?.size === 0) this.#byService.delete(owner);
    return [owner];
  }
}
