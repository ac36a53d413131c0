import type { Headers } from "../headers.ts";

/**
 * What may not come after the body (RFC 9110, 6.5.1): fields that frame, route or authorise a message, or say how to read it. Whoever decides by
 * them has decided already, and whoever merges trailers into the head would be misled.
 */
const FORBIDDEN: ReadonlySet<string> = new Set([
  "age",
  "authorization",
  "cache-control",
  "connection",
  "content-encoding",
  "content-length",
  "content-range",
  "content-type",
  "cookie",
  "date",
  "expect",
  "expires",
  "forwarded",
  "host",
  "keep-alive",
  "location",
  "max-forwards",
  "pragma",
  "range",
  "retry-after",
  "set-cookie",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
  "vary",
  "via",
  "www-authenticate",
  "x-real-ip",
  "x-request-id",
]);

/** Trailers as they may go on; undefined: nothing is left of them. Their names and values have been checked by the codec. */
export function safeTrailers(trailers: Headers | undefined): Headers | undefined {
  if (trailers === undefined) return undefined;
  for (let i = trailers.length - 1; i >= 0; i--) {
    const name = trailers.names[i] as string;
    const isOurs = name.startsWith("x-forwarded-") || name.startsWith("x-envoy-") || name.startsWith("proxy-");
    if (isOurs || FORBIDDEN.has(name)) trailers.removeAt(i);
  }
  return trailers.length === 0 ? undefined : trailers;
}
