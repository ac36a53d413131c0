import type { Duration } from "@bufbuild/protobuf/wkt";

/** Something wrong in a resource: which field (a path such as virtual_hosts[0].routes[3].match), and what is wrong with it. */
export interface Problem {
  readonly field: string;
  readonly message: string;
}

/** What compiling a resource yields: the thing made ready for use, or everything that is wrong with it. */
export type Compiled<T> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly problems: readonly Problem[] };

/** Makes something when it is first needed. */
export type Deferred<T> = () => T;

/** A resource may hold thousands of mistakes of one kind; a NACK is cut at about 4 KB anyway (proxy-parity 1, rule 5). */
const PROBLEMS_MAX = 100;

/**
 * A place in a resource, against which problems are reported. It knows its parent and makes the path text only when there is a problem:
 * a route table has tens of thousands of places, and nearly all of them are fine.
 */
export class Place {
  readonly problems: Problem[];
  readonly #parent: Place | undefined;
  readonly #name: string;
  readonly #index: number;

  private constructor(problems: Problem[], parent: Place | undefined, name: string, index: number) {
    this.problems = problems;
    this.#parent = parent;
    this.#name = name;
    this.#index = index;
  }

  /** The resource itself, with an empty list of problems. */
  static root(): Place {
    return new Place([], undefined, "", -1);
  }

  /** A field of this message, by its proto name. */
  field(name: string): Place {
    return new Place(this.problems, this, name, -1);
  }

  /** An element of a repeated field of this message. */
  item(name: string, index: number): Place {
    return new Place(this.problems, this, name, index);
  }

  /** Reports a problem here. */
  refuse(message: string): void {
    if (this.problems.length < PROBLEMS_MAX) this.problems.push({ field: this.toString(), message });
  }

  toString(): string {
    const own = this.#index < 0 ? this.#name : `${this.#name}[${this.#index}]`;
    const outer = this.#parent?.toString() ?? "";
    return outer === "" ? own : `${outer}.${own}`;
  }

  /** The result of compiling what this place is the root of. */
  result<T>(value: T): Compiled<T> {
    return this.problems.length === 0 ? { ok: true, value } : { ok: false, problems: this.problems };
  }
}

/** A duration in ms, or `otherwise` when the field is not set. */
export function durationMs<T>(duration: Duration | undefined, otherwise: T): number | T {
  return duration === undefined ? otherwise : Number(duration.seconds) * 1000 + duration.nanos / 1e6;
}
