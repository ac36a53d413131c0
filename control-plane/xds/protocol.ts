import type { Node } from "#envoy/config/core/v3/base_pb.ts";

import type { ResourceSet } from "./cache.ts";
import type { Outcome, Permission, Push, Subscription } from "./subscription.ts";
import type { ClientTraits } from "./subscription-delta.ts";
import type { ResponseBytes, ResponseHead } from "./wire.ts";

/** A decoded request of either kind of stream. */
export interface IncomingRequest {
  readonly node: Node | undefined;
  readonly typeUrl: string;
  /** All names in it, for the check of limits: lists that are each bounded. */
  readonly nameLists: readonly (readonly string[])[];
  /** It tells of resources from an earlier stream. */
  readonly reconnects: boolean;
  /** Puts the request to the subscription of its type. */
  apply(sub: Subscription, traits: ClientTraits, nowMs: number): Outcome;
}

/** What differs between a delta and a state-of-the-world stream; everything else is stream.ts. */
export interface StreamProtocol {
  readonly name: "delta" | "sotw";
  /** Whether resources that are gone have to be kept until the client may lose them (W6). */
  readonly lingers: boolean;
  /** Nothing of the bytes is kept. @throws Error on bytes that are no such request */
  decode(bytes: Buffer): IncomingRequest;
  take(sub: Subscription, set: ResourceSet, permission: Permission, budgetBytes: number): Push | undefined;
  encode(head: ResponseHead, push: Push): ResponseBytes;
}
