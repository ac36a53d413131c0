import { createHash, timingSafeEqual } from "node:crypto";

import type { LeaseToken } from "#sluice/model/v1/registry_pb.ts";

import type { Store } from "../store/store.ts";

/** A registry of the kind `leases`. */
interface Place {
  readonly gatewayGroup: string;
  readonly registry: string;
}

/** Whether a token is one of any registry: whoever has none needs not be read. */
export function isLeaseToken({ state }: Store, token: string): boolean {
  let found = false;
  for (const { object } of state.entries("registry")) {
    if (object.kind !== "registry" || object.value.kind.case !== "leases") continue;
    // All of them are compared, so that the time tells nothing.
    if (matching(object.value.kind.value.tokens, token) !== undefined) found = true;
  }
  return found;
}

/** The registry's token that this is; undefined if it is none of its. */
export function leaseTokenOf(
  { state }: Store,
  { gatewayGroup, registry }: Place,
  token: string,
): LeaseToken | undefined {
  const found = state.member("registry", gatewayGroup, registry);
  return found?.kind.case === "leases" ? matching(found.kind.value.tokens, token) : undefined;
}

/** Whether a token is good for a service. */
export const coversService = ({ services }: Pick<LeaseToken, "services">, service: string): boolean =>
  services.length === 0 ||
  services.some((each) => (each.endsWith("*") ? service.startsWith(each.slice(0, -1)) : service === each));

function matching(tokens: readonly LeaseToken[], token: string): LeaseToken | undefined {
  const digest = createHash("sha256").update(token).digest();
  let found: LeaseToken | undefined;
  for (const each of tokens) if (timingSafeEqual(Buffer.from(each.sha256, "hex"), digest)) found = each;
  return found;
}
