import { DEADLINE_EXCEEDED } from "./filters/grpc.ts";
import { type Violation, violations } from "./http1/violation.ts";
import { reasonOf } from "./http1/write.ts";

/** An answer that the proxy itself gives. The only place where an error becomes a status, a flag and a body; all as Envoy's. */
export interface LocalReply {
  readonly status: number;
  /** Envoy's RESPONSE_CODE_DETAILS. */
  readonly details: string;
  /** Envoy's response flag; undefined: none. */
  readonly flag: string | undefined;
  /** Sent as text/plain; "": no body. */
  readonly body: string | Uint8Array;
  /** For gRPC clients, where the status doesn't say it. */
  readonly grpcStatus?: number;
  /** Further fields of the response, lower-case name and value. */
  readonly headers?: readonly (readonly [string, string])[];
}

/** Why an attempt to get a response failed, in Envoy's words for stream resets. */
export type ResetReason =
  | "remote connection failure"
  | "connection timeout"
  | "connection termination"
  | "protocol error"
  | "remote reset"
  | "remote refused stream reset"
  | "overflow"
  | "per try timeout"
  | "per try idle timeout";

const reply = (status: number, details: string, flag?: string, body = ""): LocalReply => ({
  status,
  details,
  flag,
  body,
});

/** Replies that don't depend on the request. */
export const replies = {
  routeNotFound: reply(404, "route_not_found", "NR"),
  routeTableNotFound: reply(404, "route_configuration_not_found", "NR"),
  pathRejected: reply(404, "absolute_path_rejected"),
  pathNormalizationFailed: reply(400, "path_normalization_failed"),
  upgradeFailed: reply(403, "upgrade_failed"),
  noHealthyUpstream: reply(503, "no_healthy_upstream", "UH", "no healthy upstream"),
  /** RFC 9110, 15.5.20; Envoy doesn't ask. */
  misdirected: reply(421, "misdirected_request"),
  requestTimeout: reply(408, "request_overall_timeout", undefined, "request timeout"),
  requestHeadersTimeout: reply(408, "request_header_timeout", undefined, "request header timeout"),
  /** The client sends its body too slowly, or takes the response so. Envoy has no such bounds. */
  slowBody: reply(408, "request_body_too_slow", undefined, "request timeout"),
  slowReader: reply(408, "response_reader_too_slow"),
  /** The stream was idle while its request was still coming in. */
  idleRequest: reply(408, "stream_idle_timeout", "SI", "stream timeout"),
  /** The stream was idle while its response was awaited. */
  idleResponse: reply(504, "stream_idle_timeout", "SI", "stream timeout"),
  /** The stream took too long while its request was still coming in. */
  longRequest: {
    ...reply(408, "max_duration_timeout", undefined, "downstream duration timeout"),
    grpcStatus: DEADLINE_EXCEEDED,
  },
  /** The stream took too long while its response was awaited. */
  longResponse: {
    ...reply(504, "max_duration_timeout", undefined, "downstream duration timeout"),
    grpcStatus: DEADLINE_EXCEEDED,
  },
  responseTimeout: reply(504, "response_timeout", "UT", "upstream request timeout"),
  /** Nothing came of a try's response for too long. */
  perTryIdleTimeout: reply(504, "upstream_per_try_idle_timeout", "SI", "upstream request timeout"),
  perTryTimeout: reply(504, "upstream_per_try_timeout", "UT", "upstream request timeout"),
} as const;

const resets: Record<ResetReason, { status: number; flag: string }> = {
  "remote connection failure": { status: 503, flag: "UF" },
  "connection timeout": { status: 503, flag: "UF" },
  "connection termination": { status: 503, flag: "UC" },
  "protocol error": { status: 502, flag: "UPE" },
  "remote reset": { status: 503, flag: "UR" },
  "remote refused stream reset": { status: 503, flag: "UR" },
  overflow: { status: 503, flag: "UO" },
  "per try timeout": { status: 504, flag: "UT" },
  "per try idle timeout": { status: 504, flag: "SI" },
};

/**
 * The last attempt ended before a response began. `transportFailure`: what the transport said of it, "" if nothing; the client isn't told.
 * `retried`: it was not the first attempt.
 */
export function upstreamReset(reason: ResetReason, transportFailure: string, retried: boolean): LocalReply {
  if (reason === "per try timeout") return replies.perTryTimeout;
  if (reason === "per try idle timeout") return replies.perTryIdleTimeout;
  const { status, flag } = resets[reason];
  const transport = transportFailure === "" ? "" : `|${transportFailure}`;
  const which = retried ? "retried and the latest reset reason" : "reset reason";
  return {
    status,
    flag,
    details: `upstream_reset_before_response_started{${reason.replaceAll(" ", "_")}${transport}}`,
    body: `upstream connect error or disconnect/reset before headers. ${which}: ${reason}`,
    ...(reason === "overflow" && { headers: [["x-envoy-overloaded", "true"]] }),
  };
}

/** A message that the codec refused. Its framing is unknown from there on, so the connection closes after this reply. */
export const malformed = (violation: Violation): LocalReply => {
  const { status, details } = violation;
  return refusedAboveCodec.has(violation) ? reply(status, details) : reply(status, details, "DPE", reasonOf(status));
};

/** What Envoy's codec lets through and its connection manager then refuses: without a body and without the flag of a protocol error. */
const refusedAboveCodec: ReadonlySet<Violation> = new Set([violations.missingHost, violations.fragment]);

/** Who the client is can't be told, and the configuration asks for a refusal then. */
export const addressUnknown = (status: number): LocalReply => reply(status, "rejecting because detection failed");
/** The text form of gRPC-Web is base64. */
export const invalidBase64: LocalReply = reply(
  400,
  "grpc_base_64_decode_failed",
  undefined,
  "Bad gRPC-web request, invalid base64 data.",
);

/** Envoy lets the route choose between 503 and 404. */
export const clusterNotFound = (status: number): LocalReply => reply(status, "cluster_not_found", "NC");

/** A redirect; `location` has been checked to be a field value. */
export const redirect = (status: number, location: string, details = "direct_response"): LocalReply => ({
  status,
  details,
  flag: undefined,
  body: "",
  headers: [["location", location]],
});

/** A route's direct_response; `location`: "", or a field value. */
export const direct = (status: number, body: Uint8Array, location: string): LocalReply => ({
  status,
  details: "direct_response",
  flag: undefined,
  body,
  ...(location !== "" && { headers: [["location", location]] }),
});
