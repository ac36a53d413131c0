import { type ResourceType, resourceTypes } from "#proto/resource-types.ts";

import type { NameChanges } from "./names.ts";

/** A DeltaDiscoveryRequest, without what is the stream's (node). */
export interface Request {
  readonly typeUrl: string;
  readonly subscribe: readonly string[];
  readonly unsubscribe: readonly string[];
  readonly initialVersions: Readonly<Record<string, string>>;
  /** Of the response that this answers; "" in a spontaneous request (rule D2). */
  readonly nonce: string;
  /** Why the response was refused; undefined: it was not. */
  readonly error: string | undefined;
}

/** Types of which everything is wanted, always; of virtual hosts only while a route configuration says so (rule O1). */
const ALWAYS: ReadonlySet<string> = new Set<ResourceType["shortName"]>(["CDS", "LDS"]);

/** What one type's part of the conversation knows; types are walled off from each other (rule T3). */
interface TypeState {
  readonly type: ResourceType;
  /** Names that we need: "*" stands for all. */
  readonly wanted: Set<string>;
  /** Whether they have been subscribed to on this stream. */
  subscribed: boolean;
  /** Name to version of what we accepted and hold; it outlives streams. */
  readonly held: Map<string, string>;
}

/**
 * What the proxy wants of a control plane and holds from it, for all types. A plain value: it says which requests to send, and sends none.
 * Sources: Envoy's xds_protocol.rst; the rule ids are those of docs/xds-rules.md.
 */
export class Subscriptions {
  readonly #states = new Map<string, TypeState>();
  #isOpen = false;

  constructor() {
    for (const type of resourceTypes) {
      // "*" is said aloud: an empty list means the same in a first request only, and servers differ on it beside versions (D5, D9).
      const wanted = new Set(ALWAYS.has(type.shortName) ? ["*"] : []);
      this.#states.set(type.typeUrl, { type, wanted, subscribed: false, held: new Map() });
    }
  }

  /**
   * A new stream begins: the first request of each type, in the order in which a server should push. It names everything again, since
   * a server remembers nothing of former streams (W8), and tells what we hold so that only differences need to come (D9).
   * A type of which nothing is wanted yet gets no request.
   */
  open(): Request[] {
    this.#isOpen = true;
    const requests: Request[] = [];
    for (const state of this.#states.values()) {
      state.subscribed = false;
      const first = this.#first(state);
      if (first !== undefined) requests.push(first);
    }
    return requests;
  }

  /**
   * How the names of a type that are needed have changed. The request to send on the open stream, or undefined if nothing changes or none is
   * open (then {@link open} will say it). What is no longer wanted is no longer held, so a later wish gets it in full (D3).
   */
  want(typeUrl: string, { added, removed }: NameChanges): Request | undefined {
    const state = this.#state(typeUrl);
    const subscribe = added.filter((name) => !state.wanted.has(name));
    const unsubscribe = removed.filter((name) => state.wanted.has(name));
    for (const name of subscribe) state.wanted.add(name);
    for (const name of unsubscribe) {
      state.wanted.delete(name);
      if (name === "*") state.held.clear();
      else state.held.delete(name);
    }
    if (!this.#isOpen || subscribe.length + unsubscribe.length === 0) return undefined;
    if (!state.subscribed) return this.#first(state);
    return { typeUrl, subscribe, unsubscribe, initialVersions: {}, nonce: "", error: undefined };
  }

  /** The stream is gone. */
  close(): void {
    this.#isOpen = false;
  }

  /** We took this version of a resource. */
  accept(typeUrl: string, name: string, version: string): void {
    this.#state(typeUrl).held.set(name, version);
  }

  /** A resource is gone, or was taken back; a name that is still wanted stays subscribed, for it may come again (D4). */
  forget(typeUrl: string, name: string): void {
    this.#state(typeUrl).held.delete(name);
  }

  /** The answer to a response: an ACK, or a NACK with its reasons (S2, D12: in delta the nonce and error_detail say it all). */
  answer(typeUrl: string, nonce: string, error: string | undefined): Request {
    return { typeUrl, subscribe: [], unsubscribe: [], initialVersions: {}, nonce, error };
  }

  #state(typeUrl: string): TypeState {
    const state = this.#states.get(typeUrl);
    if (state === undefined) throw new Error(`not a resource type of ours: ${typeUrl}`);
    return state;
  }

  /** The first request of a type on a stream, once something of it is wanted. */
  #first(state: TypeState): Request | undefined {
    const { type, wanted, held } = state;
    if (wanted.size === 0) return undefined;
    state.subscribed = true;
    const initialVersions = Object.fromEntries(held);
    return {
      ...{ typeUrl: type.typeUrl, subscribe: [...wanted], unsubscribe: [], initialVersions },
      nonce: "",
      error: undefined,
    };
  }
}
