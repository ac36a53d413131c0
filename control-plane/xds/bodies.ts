import type { ResourceEntry } from "./wire.ts";

/** A single one is not joined. */
const RESOURCES_MIN = 2;
/** Types whose last body is kept; each is about `XdsLimits.responseBytes` at most. */
const TYPES_MAX = 16;

interface Body {
  readonly resources: readonly ResourceEntry[];
  readonly bytes: Buffer;
}

/**
 * The resources of a response as one piece of bytes. Data planes that come together, as after a restart, are sent the same long lists one
 * after the other: the last list of each type is joined once for all of them.
 */
export class Bodies {
  readonly #form: Form;
  readonly #last = new Map<string, Body>();
  /** Of lists that are themselves shared (first-answers.ts), for as long as they are. */
  readonly #ofList = new WeakMap<readonly ResourceEntry[], Buffer>();

  /** @param form which of an entry's forms is joined */
  constructor(form: Form) {
    this.#form = form;
  }

  of(typeUrl: string, resources: readonly ResourceEntry[]): Buffer {
    if (resources.length < RESOURCES_MIN) return this.#join(resources);
    const known = this.#ofList.get(resources);
    if (known !== undefined) return known;
    const last = this.#last.get(typeUrl);
    if (last !== undefined && isSame(last.resources, resources)) return last.bytes;
    const bytes = this.#join(resources);
    this.#ofList.set(resources, bytes);
    if (last !== undefined || this.#last.size < TYPES_MAX) this.#last.set(typeUrl, { resources, bytes });
    return bytes;
  }

  #join(resources: readonly ResourceEntry[]): Buffer {
    const [only] = resources;
    if (only !== undefined && resources.length === 1) return only[this.#form];
    return Buffer.concat(resources.map((entry) => entry[this.#form]));
  }
}

/** Forms of an entry that are bytes. */
type Form = "delta" | "sotw";

/** Entries are shared and never change, so that it is enough to compare references. */
const isSame = (one: readonly ResourceEntry[], other: readonly ResourceEntry[]): boolean =>
  one.length === other.length && one.every((entry, at) => entry === other[at]);
