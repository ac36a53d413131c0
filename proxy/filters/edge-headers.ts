import type { Headers } from "../headers.ts";
import { dateNow } from "../listen/clock.ts";
import type { HttpOptions } from "../listen/options.ts";
import type { RequestHead } from "../request.ts";
import { newRequestId } from "./request-ids.ts";

/** What only the gateway itself may tell an upstream (Envoy: cleanInternalHeaders and the sanitising of edge requests). */
const INTERNAL = new Set([
  "x-envoy-attempt-count",
  "x-envoy-decorator-operation",
  "x-envoy-downstream-service-cluster",
  "x-envoy-downstream-service-node",
  "x-envoy-expected-rq-timeout-ms",
  "x-envoy-external-address",
  "x-envoy-force-trace",
  "x-envoy-hedge-on-per-try-timeout",
  "x-envoy-internal",
  "x-envoy-ip-tags",
  "x-envoy-is-timeout-retry",
  "x-envoy-max-retries",
  "x-envoy-original-path",
  "x-envoy-original-host",
  "x-envoy-original-url",
  "x-envoy-retriable-header-names",
  "x-envoy-retriable-status-codes",
  "x-envoy-retry-grpc-on",
  "x-envoy-retry-on",
  "x-envoy-upstream-alt-stat-name",
  "x-envoy-upstream-rq-per-try-timeout-ms",
  "x-envoy-upstream-rq-timeout-alt-response",
  "x-envoy-upstream-rq-timeout-ms",
  "x-envoy-upstream-stream-duration-ms",
  // forward_client_cert_details is SANITIZE unless configured.
  "x-forwarded-client-cert",
]);

const LETTER_X = 0x78;

/**
 * Makes a client's request fit to be routed: takes out what it may not say, says where it comes from and gives it an id. Runs after
 * Connection's fields were removed, so that a client cannot have ours removed. Returns the request's id.
 */
export function mutateRequestHeaders(head: RequestHead, options: HttpOptions): string | undefined {
  const { headers } = head;
  const { names, values } = headers;
  let forwardedFor = -1;
  let forwardedProto = -1;
  let requestId = -1;
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    if (name.charCodeAt(0) !== LETTER_X) continue;
    // A second field of a name goes into the first (x-forwarded-for) or away, so that each of the three stands at one place.
    if (INTERNAL.has(name)) {
      headers.removeAt(i--);
    } else if (name === "x-forwarded-for") {
      if (forwardedFor < 0) forwardedFor = i;
      else {
        values[forwardedFor] = `${values[forwardedFor]},${values[i]}`;
        headers.removeAt(i--);
      }
    } else if (name === "x-forwarded-proto") {
      if (forwardedProto < 0) forwardedProto = i;
      else headers.removeAt(i--);
    } else if (name === "x-request-id") {
      if (requestId < 0) requestId = i;
      else headers.removeAt(i--);
    }
  }
  const { remoteAddress, scheme } = head;
  if (options.useRemoteAddress) {
    // No address counts as internal unless configured (Envoy since 1.33).
    headers.add("x-envoy-external-address", remoteAddress);
    if (!options.skipXffAppend) {
      const value = forwardedFor < 0 ? remoteAddress : `${values[forwardedFor]},${remoteAddress}`;
      put(headers, forwardedFor, "x-forwarded-for", value);
    }
  }
  // Only a trusted proxy may say how its client reached it.
  if (forwardedProto < 0 || options.useRemoteAddress) put(headers, forwardedProto, "x-forwarded-proto", scheme);
  if (options.via !== "") headers.set("via", joinVia(headers, options.via));
  return applyRequestId(headers, requestId, options);
}

/** Sets the field at its place; -1: there is none. */
function put(headers: Headers, at: number, name: string, value: string): void {
  if (at < 0) headers.add(name, value);
  else headers.values[at] = value;
}

function applyRequestId(headers: Headers, at: number, options: HttpOptions): string | undefined {
  // An edge proxy makes its own id, so that clients can't choose what logs and traces are found by.
  const keep = at >= 0 && (options.preserveExternalRequestId || !options.useRemoteAddress);
  if (keep || !options.generateRequestId) return at < 0 ? undefined : headers.values[at];
  const id = newRequestId();
  put(headers, at, "x-request-id", id);
  return id;
}

const joinVia = (headers: Headers, via: string): string => {
  const before = headers.get("via");
  return before === undefined ? via : `${before}, ${via}`;
};

/** What every response carries: `server`, `date`, and what the options add. */
export function mutateResponseHeaders(headers: Headers, options: HttpOptions, requestId: string | undefined): void {
  const { names, values } = headers;
  let server = -1;
  let hasDate = false;
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    if (name === "server") {
      if (server < 0) server = i;
      else headers.removeAt(i--);
    } else if (name === "date") hasDate = true;
  }
  if (options.serverHeader === "overwrite") put(headers, server, "server", options.serverName);
  else if (options.serverHeader === "append-if-absent" && server < 0) headers.add("server", options.serverName);
  if (!hasDate) {
    names.push("date");
    values.push(dateNow());
  }
  if (options.via !== "") headers.set("via", joinVia(headers, options.via));
  if (options.alwaysSetRequestIdInResponse && requestId !== undefined) headers.set("x-request-id", requestId);
}
