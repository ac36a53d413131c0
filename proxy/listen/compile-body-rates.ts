import type { FilterChain } from "#envoy/config/listener/v3/listener_components_pb.ts";

import type { Place } from "../compile.ts";
import type { BodyRates } from "../filters/pace.ts";
import { ownNumbers } from "./own-metadata.ts";

/**
 * 240 bytes are one frame of Ethernet every six seconds: nobody who wants to get on is so slow. Half a minute without anything is what a mobile client
 * may take from one cell to the next.
 */
const BYTES_PER_SECOND_DEFAULT = 240;
const GRACE_MS_DEFAULT = 30_000;

/** The minimum rates of a chain's bodies, which Envoy has no field for: in its metadata, and not set, our defaults. */
export function compileBodyRates({ metadata }: FilterChain, place: Place): BodyRates {
  const words = ["request_bytes_per_second", "response_bytes_per_second", "grace_ms"] as const;
  const set = ownNumbers(metadata, "sluice.body_rates", words, place);
  const graceMs = set.grace_ms ?? GRACE_MS_DEFAULT;
  const rate = (bytesPerSecond = BYTES_PER_SECOND_DEFAULT) => ({ bytesPerSecond, graceMs });
  return { request: rate(set.request_bytes_per_second), response: rate(set.response_bytes_per_second) };
}
