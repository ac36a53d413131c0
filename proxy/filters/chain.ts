import type { Headers } from "../headers.ts";
import type { RequestHead } from "../request.ts";
import type { FilterSwitches } from "../route/filter-switches.ts";
import type { Filter, FilterFactory, FilterStream } from "./filter.ts";

/** Where the chain ends on both sides. */
export interface ChainEnds {
  requestHead(end: boolean): void;
  requestData(piece: Buffer): void;
  requestEnd(trailers: Headers | undefined): void;
  /** False: wait for the client to take more. */
  responseData(bytes: Buffer, from: number, to: number): boolean;
  responseEnd(trailers: Headers | undefined): void;
}

/**
 * The filters of one request, in the order of the configuration; the response passes them backwards (Envoy: "encoder filters are invoked
 * in reverse"). A stream without filters has no chain.
 */
export class Chain {
  readonly #filters: Filter[];
  readonly #ends: ChainEnds;
  /** The filter whose answer is awaited, while it is. */
  #at = 0;
  #waiting = false;
  #head: RequestHead | undefined = undefined;
  #end = false;
  /** What came while a filter waits: at most one read, since reading stops then. */
  #held: Buffer[] = [];
  #heldEnd = false;
  #heldTrailers: Headers | undefined = undefined;

  constructor(filters: Filter[], ends: ChainEnds) {
    this.#filters = filters;
    this.#ends = ends;
  }

  /** The chain for one request, with what its route switches on or off; undefined when no filter takes part. */
  static create(
    factories: readonly FilterFactory[],
    switches: FilterSwitches | undefined,
    stream: FilterStream,
    ends: ChainEnds,
  ): Chain | undefined {
    const filters: Filter[] = [];
    for (const factory of factories) {
      if ((switches?.get(factory.name) ?? factory.disabled !== true) === false) continue;
      const filter = factory.create(stream);
      if (filter !== undefined) filters.push(filter);
    }
    return filters.length === 0 ? undefined : new Chain(filters, ends);
  }

  /** Whether a filter has asked to wait; no more of the body should be read meanwhile. */
  get waiting(): boolean {
    return this.#waiting;
  }

  requestHead(head: RequestHead, end: boolean): void {
    this.#head = head;
    this.#end = end;
    this.#run();
  }

  /** The filter that waits lets go. */
  continue(): void {
    this.#waiting = false;
    this.#run();
    if (this.#waiting) return;
    for (const piece of this.#held.splice(0)) this.requestData(piece);
    if (this.#heldEnd) this.requestEnd(this.#heldTrailers);
  }

  #run(): void {
    while (this.#at < this.#filters.length) {
      const filter = this.#filters[this.#at++] as Filter;
      if (filter.onRequestHead?.(this.#head as RequestHead, this.#end) !== "wait") continue;
      this.#waiting = true;
      return;
    }
    this.#ends.requestHead(this.#end);
  }

  /** A piece of the request's body, which stays as it is. */
  requestData(piece: Buffer): void {
    if (this.#waiting) {
      this.#held.push(piece);
      return;
    }
    const rest = this.#passRequest(0, piece);
    if (rest !== undefined) this.#ends.requestData(rest);
  }

  requestEnd(trailers: Headers | undefined): void {
    this.#heldEnd = this.#waiting;
    this.#heldTrailers = trailers;
    if (this.#waiting) return;
    for (let i = 0; i < this.#filters.length; i++) {
      const last = this.#filters[i]?.onRequestEnd?.(trailers);
      const rest = last === undefined ? undefined : this.#passRequest(i + 1, last);
      if (rest !== undefined) this.#ends.requestData(rest);
    }
    this.#ends.requestEnd(orNone(trailers));
  }

  #passRequest(from: number, piece: Buffer): Buffer | undefined {
    let rest: Buffer | undefined = piece;
    for (let i = from; i < this.#filters.length && rest !== undefined; i++) {
      const filter = this.#filters[i] as Filter;
      if (filter.onRequestData !== undefined) rest = filter.onRequestData(rest);
    }
    return rest;
  }

  responseHead(status: number, headers: Headers, end: boolean): void {
    for (let i = this.#filters.length - 1; i >= 0; i--) this.#filters[i]?.onResponseHead?.(status, headers, end);
  }

  responseData(bytes: Buffer, from: number, to: number): boolean {
    const rest = this.#passResponse(this.#filters.length - 1, bytes.subarray(from, to));
    return rest === undefined || this.#ends.responseData(rest, 0, rest.length);
  }

  responseEnd(trailers: Headers | undefined): void {
    for (let i = this.#filters.length - 1; i >= 0; i--) {
      const last = this.#filters[i]?.onResponseEnd?.(trailers);
      const rest = last === undefined ? undefined : this.#passResponse(i - 1, last);
      if (rest !== undefined) this.#ends.responseData(rest, 0, rest.length);
    }
    this.#ends.responseEnd(orNone(trailers));
  }

  #passResponse(from: number, piece: Buffer): Buffer | undefined {
    let rest: Buffer | undefined = piece;
    for (let i = from; i >= 0 && rest !== undefined; i--) {
      const filter = this.#filters[i] as Filter;
      if (filter.onResponseData !== undefined) rest = filter.onResponseData(rest);
    }
    return rest;
  }

  destroy(): void {
    for (const filter of this.#filters) filter.onDestroy?.();
  }
}

/** Trailers from which a filter took every field are none. */
const orNone = (trailers: Headers | undefined): Headers | undefined => (trailers?.length === 0 ? undefined : trailers);
