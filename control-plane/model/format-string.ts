import { quoted } from "./problem.ts";

/** Envoy's command operators that stand alone and that both data planes know (Envoy, "Access log format"). */
const plain = new Set(
  `PROTOCOL RESPONSE_CODE RESPONSE_CODE_DETAILS RESPONSE_FLAGS RESPONSE_FLAGS_LONG BYTES_RECEIVED BYTES_SENT DURATION REQUEST_DURATION
  RESPONSE_DURATION RESPONSE_TX_DURATION UPSTREAM_HOST UPSTREAM_CLUSTER UPSTREAM_CLUSTER_RAW UPSTREAM_LOCAL_ADDRESS
  UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT UPSTREAM_LOCAL_PORT UPSTREAM_REMOTE_ADDRESS UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT
  UPSTREAM_REMOTE_PORT UPSTREAM_TRANSPORT_FAILURE_REASON UPSTREAM_REQUEST_ATTEMPT_COUNT DOWNSTREAM_REMOTE_ADDRESS
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_REMOTE_PORT DOWNSTREAM_DIRECT_REMOTE_ADDRESS
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT DOWNSTREAM_DIRECT_REMOTE_PORT DOWNSTREAM_LOCAL_ADDRESS
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT DOWNSTREAM_LOCAL_PORT ROUTE_NAME VIRTUAL_CLUSTER_NAME CONNECTION_TERMINATION_DETAILS
  DOWNSTREAM_TRANSPORT_FAILURE_REASON GRPC_STATUS GRPC_STATUS_NUMBER LOCAL_REPLY_BODY TRACE_ID STREAM_ID ACCESS_LOG_TYPE
  HOSTNAME REQUESTED_SERVER_NAME START_TIME DOWNSTREAM_TLS_VERSION DOWNSTREAM_TLS_CIPHER DOWNSTREAM_TLS_SESSION_ID DOWNSTREAM_LOCAL_URI_SAN
  DOWNSTREAM_PEER_SUBJECT DOWNSTREAM_PEER_ISSUER DOWNSTREAM_PEER_SERIAL DOWNSTREAM_PEER_FINGERPRINT_256 DOWNSTREAM_PEER_FINGERPRINT_1
  DOWNSTREAM_PEER_URI_SAN DOWNSTREAM_PEER_DNS_SAN DOWNSTREAM_PEER_CERT DOWNSTREAM_PEER_CERT_V_START DOWNSTREAM_PEER_CERT_V_END`.split(
    /\s+/,
  ),
);

interface Argument {
  /** What both data planes know. */
  readonly known: RegExp;
  /** Whether a length may follow. */
  readonly hasLength: boolean;
}

const headers: Argument = { known: /^[^?]+(?:\?[^?]+)?$/, hasLength: true };

/** Those that take an argument in brackets. */
const withArgument: ReadonlyMap<string, Argument> = new Map([
  ["REQ", headers],
  ["RESP", headers],
  ["TRAILER", headers],
  ["ENVIRONMENT", { known: /^.+$/, hasLength: true }],
  ["GRPC_STATUS", { known: /^(?:CAMEL_STRING|SNAKE_STRING|NUMBER)$/, hasLength: false }],
  ["START_TIME", { known: /^(?:[^%]|%(?:[YmdHMSsfFTzZ]|E3S|[369]f))+$/, hasLength: false }],
]);

/**
 * What is wrong with a text of command operators, or undefined. A data plane that finds one that it doesn't know refuses the whole
 * resource, with everything else that is in it.
 */
export function formatStringProblem(text: string): string | undefined {
  // "%%" is a percent sign; anything else that begins with "%" must be an operator. An argument may hold percent signs of its own: START_TIME(%Y).
  const rest = text.replaceAll(
    /%%|%([A-Z_0-9]+)(?:\(([^()]+)\))?(:\d{1,5})?%/g,
    (whole, name?: string, argument?: string, length?: string) => {
      if (name === undefined) return "";
      if (argument === undefined) return plain.has(name) && length === undefined ? "" : whole;
      const operator = withArgument.get(name);
      return operator?.known.test(argument) === true && (operator.hasLength || length === undefined) ? "" : whole;
    },
  );
  const wrong = /%[^%(]*(?:\([^)]*\)[^%]*)?%?/.exec(rest)?.[0];
  if (wrong === undefined) return undefined;
  return `${quoted(wrong)} is no command operator that data planes know; a percent sign is written "%%"`;
}
