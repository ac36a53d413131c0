import { staticNames, staticValues } from "./static-table.ts";

/** What an encoder knows of a name before it has seen it. */
export interface KnownName {
  readonly name: string;
  /** Its first index in the static table, 0 if it has none. */
  readonly staticIndex: number;
  /** The values of that index and those behind it. */
  readonly staticValues: readonly string[];
  /** Values shorter than this are secrets that might be guessed (RFC 7541, 7.1.3): never indexed, here or by whoever passes them on. */
  readonly secretBelowBytes: number;
  /** Whether each message has a value of its own. */
  readonly isFickle: boolean;
}

const ALWAYS_SECRET = Number.POSITIVE_INFINITY;

/** A shorter cookie might be guessed by trying; a longer one is rather known by its session, and would be sent with each request. */
const SHORT_COOKIE_BYTES = 20;

const secrets: ReadonlyMap<string, number> = new Map([
  ["authorization", ALWAYS_SECRET],
  ["proxy-authorization", ALWAYS_SECRET],
  ["x-api-key", ALWAYS_SECRET],
  ["apikey", ALWAYS_SECRET],
  ["api-key", ALWAYS_SECRET],
  ["x-auth-token", ALWAYS_SECRET],
  ["x-access-token", ALWAYS_SECRET],
  ["x-csrf-token", ALWAYS_SECRET],
  ["x-amz-security-token", ALWAYS_SECRET],
  ["set-cookie", ALWAYS_SECRET],
  ["cookie", SHORT_COOKIE_BYTES],
]);

const fickle: ReadonlySet<string> = new Set([
  "age",
  "content-length",
  "content-range",
  "etag",
  "if-match",
  "if-modified-since",
  "if-none-match",
  "last-modified",
  "location",
  "range",
  "traceparent",
  "tracestate",
  "b3",
  "x-b3-spanid",
  "x-b3-parentspanid",
  "x-b3-traceid",
  "x-envoy-upstream-service-time",
  "x-request-id",
]);

/** Others that many messages carry. */
const frequent: readonly string[] = [
  ":protocol",
  "accept-encoding",
  "grpc-accept-encoding",
  "grpc-encoding",
  "grpc-message",
  "grpc-status",
  "grpc-timeout",
  "priority",
  "te",
  "user-agent",
  "x-envoy-attempt-count",
  "x-envoy-expected-rq-timeout-ms",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
];

/** Well-known names by themselves. */
export const knownNames: ReadonlyMap<string, KnownName> = new Map(
  [...new Set([...staticNames.slice(1), ...secrets.keys(), ...fickle, ...frequent])].map((name) => [
    name,
    describe(name),
  ]),
);

function describe(name: string): KnownName {
  const first = staticNames.indexOf(name);
  return {
    name,
    staticIndex: Math.max(first, 0),
    staticValues: first < 0 ? [] : staticValues.filter((_, index) => staticNames[index] === name),
    secretBelowBytes: secrets.get(name) ?? 0,
    isFickle: fickle.has(name),
  };
}
