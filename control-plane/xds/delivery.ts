/** How resources fare on their way to data planes, in the words that streams, the registry of nodes and rollouts share. */

/** Publications by number, both ends included. */
export interface PublicationRange {
  readonly first: number;
  readonly last: number;
}

/** Up to which publication something is outstanding, as the number of the earliest; Infinity if nothing is. */
export interface Outstanding {
  /** Not sent yet. */
  readonly unsent: number;
  /** Not sent yet, or not answered. */
  readonly unanswered: number;
}

/**
 * Where one resource stands: accepted as it was sent last; sent, and not answered; waiting to be sent; refused by name; or in a response
 * that was refused for other resources in it, so that only the data plane knows whether it took this one.
 */
export type ResourceState = "accepted" | "sent" | "waiting" | "refused" | "undecided";

/** One resource of one data plane. */
export interface ResourceStatus {
  readonly typeUrl: string;
  readonly name: string;
  /** As last sent; empty before the first. */
  readonly sentVersion: string;
  /** As last accepted; empty before the first. */
  readonly acceptedVersion: string;
  readonly state: ResourceState;
  /** Why it was refused; empty if it wasn't. */
  readonly nack: string;
}

/** A response that a data plane refused. */
export interface Refusal {
  readonly typeUrl: string;
  /** Of the whole response, as the data plane told it. */
  readonly reason: string;
  /** The resources in it. */
  readonly names: ReadonlySet<string>;
  /** Those that the reason names, each with its own; empty if it names none. */
  readonly reasons: ReadonlyMap<string, string>;
  /** What of publications was in it. */
  readonly publications: PublicationRange | undefined;
}
