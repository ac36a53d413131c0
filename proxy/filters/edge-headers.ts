import { type Headers, lineOf, NumberField, SteadyField } from "../headers.ts";
import { httpDate } from "../listen/clock.ts";
import type { HttpOptions } from "../listen/options.ts";
import type { RequestHead } from "../request.ts";
import { addressFromForwardedFor, DEFAULT_IDENTITY, detectAddress } from "./client-address.ts";
import { mutateClientCert } from "./client-cert.ts";
import { cleaned } from "./internal-headers.ts";
import { addressLines, type StreamRecord } from "./record.ts";
import { requestIds } from "./request-ids.ts";

const LETTER_X = 0x78;
const PROTO_HTTP = lineOf("x-forwarded-proto", "http");
const PROTO_HTTPS = lineOf("x-forwarded-proto", "https");

/** What a request says of itself in the fields that are ours to judge, and where they stand; -1: nowhere. */
interface Places {
  forwardedFor: number;
  forwardedProto: number;
  requestId: number;
}

/**
 * Makes a client's request fit to be routed: takes out what it may not say, finds out who its client is, says so, and gives it an id. Runs
 * after Connection's fields were removed, so that a client cannot have ours removed. `internalOnly`: fields of the route table's own that only
 * internal requests may bring. Returns the status to refuse the request with; 0: none.
 */
export function mutateRequestHeaders(
  head: RequestHead,
  options: HttpOptions,
  record: StreamRecord,
  internalOnly: readonly string[] | undefined,
): number {
  const { headers } = head;
  const { useRemoteAddress } = options;
  const { trustedHops, isInternal, detectors, appendForwardedPort } = options.identity ?? DEFAULT_IDENTITY;
  const peerAddress = head.remoteAddress;
  let internal = false;
  if (!useRemoteAddress) {
    const { address, trusted, rejectStatus } = detectAddress(detectors, headers, trustedHops);
    if (rejectStatus !== 0) return rejectStatus;
    if (address !== undefined) {
      internal = trusted && isInternal?.(address) === true;
      setClient(head, record, address);
    }
  } else {
    const forwardedFor = trustedHops > 0 || isInternal !== undefined ? headers.get("x-forwarded-for") : undefined;
    const { address } = trustedHops > 0 ? addressFromForwardedFor(forwardedFor, trustedHops - 1) : NO_ADDRESS;
    if (address !== undefined) setClient(head, record, address);
    if (isInternal !== undefined) internal = forwardedFor === undefined && isInternal(head.remoteAddress);
  }

  const clean = internal ? cleaned.internal : useRemoteAddress ? cleaned.edge : cleaned.trusted;
  const places = cleanAndFind(headers, clean);
  if (!internal && internalOnly !== undefined) {
    // The places are of fields that stay; they are looked up anew.
    for (const name of internalOnly) headers.remove(name);
    Object.assign(places, cleanAndFind(headers, clean));
  }
  if (internal) headers.add("x-envoy-internal", "true");
  else if (useRemoteAddress) {
    const isPeer = head.remoteAddress === record.peer.downstreamRemoteAddress;
    const line = isPeer ? addressLines(record.peer).externalAddress : "";
    headers.add("x-envoy-external-address", head.remoteAddress, line);
  }
  if (useRemoteAddress && !options.skipXffAppend) {
    const before = places.forwardedFor;
    if (before < 0 && peerAddress === record.peer.downstreamRemoteAddress) {
      headers.add("x-forwarded-for", peerAddress, addressLines(record.peer).forwardedFor);
    } else {
      put(headers, before, "x-forwarded-for", before < 0 ? peerAddress : `${headers.values[before]},${peerAddress}`);
    }
  }
  // Only a trusted proxy may say how its client reached it.
  const believes = !useRemoteAddress || trustedHops > 0;
  if (places.forwardedProto < 0 || !believes) {
    const { scheme } = head;
    put(headers, places.forwardedProto, "x-forwarded-proto", scheme, scheme === "https" ? PROTO_HTTPS : PROTO_HTTP);
  } else if (record.protocol !== "HTTP/2") {
    // HTTP/1 names no scheme: it is that of the client, before whoever ended its TLS.
    const proto = headers.values[places.forwardedProto]?.toLowerCase();
    if (proto === "http" || proto === "https") head.scheme = proto;
  }
  if (appendForwardedPort && !(believes && headers.has("x-forwarded-port"))) {
    const local = record.peer.downstreamLocalAddress;
    headers.set("x-forwarded-port", local.slice(local.lastIndexOf(":") + 1));
  }
  if (options.via !== "") headers.set("via", joinVia(headers, options.via));
  record.requestId = applyRequestId(headers, places.requestId, options, useRemoteAddress && !internal);
  if (options.clientCert === undefined) {
    if (places.clientCert) headers.remove("x-forwarded-client-cert");
  } else mutateClientCert(headers, record.peer.tls, options.clientCert);
  return 0;
}

const NO_ADDRESS = { address: undefined };

/** The client is another than the peer; which port it has is unknown. */
function setClient(head: RequestHead, record: StreamRecord, address: string): void {
  head.remoteAddress = address;
  head.remotePort = 0;
  record.downstreamRemoteAddress = address;
  record.downstreamRemotePort = 0;
}

/** Takes fields out, and gives the others' places. A second one of a name goes into the first (x-forwarded-for) or away. */
function cleanAndFind(headers: Headers, clean: ReadonlySet<string>): Places & { clientCert: boolean } {
  const { names, values } = headers;
  const places = { forwardedFor: -1, forwardedProto: -1, requestId: -1, clientCert: false };
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    if (name.charCodeAt(0) !== LETTER_X) continue;
    if (clean.has(name)) {
      headers.removeAt(i--);
    } else if (name === "x-forwarded-for") {
      if (places.forwardedFor < 0) places.forwardedFor = i;
      else {
        headers.setAt(places.forwardedFor, `${values[places.forwardedFor]},${values[i]}`);
        headers.removeAt(i--);
      }
    } else if (name === "x-forwarded-proto") {
      if (places.forwardedProto < 0) places.forwardedProto = i;
      else headers.removeAt(i--);
    } else if (name === "x-request-id") {
      if (places.requestId < 0) places.requestId = i;
      else headers.removeAt(i--);
    } else if (name === "x-forwarded-client-cert") places.clientCert = true;
  }
  return places;
}

/** Sets the field at its place; -1: there is none. */
function put(headers: Headers, at: number, name: string, value: string, line = ""): void {
  if (at < 0) headers.add(name, value, line);
  else headers.setAt(at, value, line);
}

function applyRequestId(headers: Headers, at: number, options: HttpOptions, edge: boolean): string | undefined {
  // An edge proxy makes its own id, so that clients can't choose what logs and traces are found by.
  const keep = at >= 0 && (options.preserveExternalRequestId || !edge);
  if (keep || !options.generateRequestId) return at < 0 ? undefined : headers.values[at];
  requestIds.next();
  put(headers, at, "x-request-id", requestIds.id, requestIds.line);
  return requestIds.id;
}

const joinVia = (headers: Headers, via: string): string => {
  const before = headers.get("via");
  return before === undefined ? via : `${before}, ${via}`;
};

const dateField = new SteadyField("date");
const serverField = new SteadyField("server");

/** What every response carries: `server`, `date`, and what the options add. `at`: now. */
export function mutateResponseHeaders(headers: Headers, options: HttpOptions, record: StreamRecord, at: number): void {
  const { names } = headers;
  let server = -1;
  let hasDate = false;
  for (let i = 0; i < names.length; i++) {
    const name = names[i];
    if (name === "server") {
      if (server < 0) server = i;
      else headers.removeAt(i--);
    } else if (name === "date") hasDate = true;
  }
  if (options.serverHeader === "overwrite")
    put(headers, server, "server", options.serverName, serverField.line(options.serverName));
  else if (options.serverHeader === "append-if-absent" && server < 0) {
    headers.add("server", options.serverName, serverField.line(options.serverName));
  }
  if (!hasDate) {
    const date = httpDate(at);
    headers.add("date", date, dateField.line(date));
  }
  if (options.via !== "") headers.set("via", joinVia(headers, options.via));
  const { requestId } = record;
  if (requestId !== undefined && (options.alwaysSetRequestIdInResponse || forcesTrace(options, record))) {
    headers.set("x-request-id", requestId);
  }
}

/** An internal client that asks for a trace is told what to look for; from any other, the field was taken out. */
const forcesTrace = ({ identity }: HttpOptions, { head }: StreamRecord): boolean =>
  identity?.isInternal !== undefined && head?.headers.has("x-envoy-force-trace") === true;

const serviceTime = new NumberField("x-envoy-upstream-service-time");

/** Says how long the upstream took, counted from the end of the request; a response that comes sooner has no such time. */
export function addServiceTime(headers: Headers, { responseHeadAt, requestEndAt }: StreamRecord): void {
  if (requestEndAt < 0) headers.remove("x-envoy-upstream-service-time");
  else serviceTime.set(headers, Math.floor(responseHeadAt - requestEndAt));
}
