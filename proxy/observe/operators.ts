import { hostname } from "node:os";

import { headerReader } from "../route/matchers.ts";
import { toWire } from "../route/text.ts";
import { addressWithPort, remoteOf } from "../filters/record.ts";
import type { RequestRecord } from "./access-log.ts";
import {
  environmentOperator,
  grpcStatusOperator,
  metadataOperator,
  pathOperator,
  queryParamOperator,
} from "./argument-operators.ts";
import { longFlag } from "./response-flags.ts";
import { compileStartTime } from "./start-time.ts";
import { tlsOperators } from "./tls-operators.ts";

/** What an operator yields for a request; undefined: unset. Strings are wire text. */
export type Operator = (record: RequestRecord) => string | number | undefined;

/** A duration in whole ms; unset until both points were reached. */
const between = (from: number, to: number) => (from < 0 || to < 0 ? undefined : Math.round(to - from));

const unset: Operator = () => undefined;

/** Operators whose text is ours: printable ASCII without quotes and backslashes. */
const plain = new WeakSet<Operator>();

/** Operators that yield one of few values: what is configured, or what we say of a request. */
const steady = new WeakSet<Operator>();

/** Whether there are so few values of an operator that texts which are made of them can be kept. */
export const isSteady = (operator: Operator): boolean => steady.has(operator);

/** Whether what an operator yields can stand in a log line as it is; nobody has to look at its characters then. */
export const isPlain = (operator: Operator): boolean => plain.has(operator);

/** The upstream's address, once there was a connection to it; which endpoint was tried is UPSTREAM_HOST. */
const connected = ({ upstreamHost, upstreamLocalAddress }: RequestRecord) =>
  upstreamLocalAddress === undefined ? undefined : upstreamHost;

const apply = <T>(text: string | undefined, read: (text: string) => T) => (text === undefined ? undefined : read(text));

const simple: Readonly<Record<string, Operator>> = {
  PROTOCOL: (record) => record.protocol,
  RESPONSE_CODE: (record) => record.status,
  RESPONSE_CODE_DETAILS: (record) => record.details || undefined,
  // Envoy writes "-" for no flags, in JSON as well.
  RESPONSE_FLAGS: (record) => (record.flags.length === 0 ? "-" : record.flags.join(",")),
  BYTES_RECEIVED: (record) => record.bytesReceived,
  BYTES_SENT: (record) => record.bytesSent,
  DURATION: (record) => between(record.startedAt, record.endAt),
  REQUEST_DURATION: (record) => between(record.startedAt, record.requestEndAt),
  RESPONSE_DURATION: (record) => between(record.startedAt, record.responseHeadAt),
  RESPONSE_TX_DURATION: (record) => between(record.responseHeadAt, record.endAt),
  UPSTREAM_HOST: (record) => record.upstreamHost,
  UPSTREAM_CLUSTER: (record) => record.upstreamCluster && wireName(record.upstreamCluster),
  UPSTREAM_LOCAL_ADDRESS: (record) => record.upstreamLocalAddress,
  UPSTREAM_TRANSPORT_FAILURE_REASON: (record) => record.upstreamTransportFailure,
  UPSTREAM_REQUEST_ATTEMPT_COUNT: (record) => record.attempts,
  DOWNSTREAM_REMOTE_ADDRESS: (record) =>
    record.downstreamRemotePort === record.peer.downstreamRemotePort &&
    record.downstreamRemoteAddress === record.peer.downstreamRemoteAddress
      ? remoteOf(record.peer)
      : addressWithPort(record.downstreamRemoteAddress, record.downstreamRemotePort),
  DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (record) => record.downstreamRemoteAddress,
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS: ({ peer }) => remoteOf(peer),
  DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT: ({ peer }) => peer.downstreamRemoteAddress,
  DOWNSTREAM_DIRECT_REMOTE_PORT: ({ peer }) => peer.downstreamRemotePort,
  DOWNSTREAM_REMOTE_PORT: (record) => record.downstreamRemotePort,
  DOWNSTREAM_LOCAL_ADDRESS: (record) => record.downstreamLocalAddress,
  ROUTE_NAME: (record) => (record.routeName ? wireName(record.routeName) : undefined),
  // Of what there is none here: virtual clusters, connections that end for a reason of their own.
  VIRTUAL_CLUSTER_NAME: unset,
  CONNECTION_TERMINATION_DETAILS: unset,
  DOWNSTREAM_TRANSPORT_FAILURE_REASON: unset,
  ...tlsOperators,
  GRPC_STATUS_NUMBER: grpcStatusOperator("NUMBER") as Operator,
  RESPONSE_FLAGS_LONG: (record) => (record.flags.length === 0 ? "-" : record.flags.map(longFlag).join(",")),
  UPSTREAM_CLUSTER_RAW: (record) => record.upstreamClusterRaw && toWire(record.upstreamClusterRaw),
  UPSTREAM_REMOTE_ADDRESS: connected,
  UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT: (record) => apply(connected(record), ipOf),
  UPSTREAM_REMOTE_PORT: (record) => apply(connected(record), portOf),
  UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: ({ upstreamLocalAddress }) => upstreamLocalAddress && ipOf(upstreamLocalAddress),
  UPSTREAM_LOCAL_PORT: ({ upstreamLocalAddress }) => upstreamLocalAddress && portOf(upstreamLocalAddress),
  DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT: ({ downstreamLocalAddress }) => ipOf(downstreamLocalAddress),
  DOWNSTREAM_LOCAL_PORT: ({ downstreamLocalAddress }) => portOf(downstreamLocalAddress),
  LOCAL_REPLY_BODY: (record) => record.localReplyBody && toWire(record.localReplyBody),
  TRACE_ID: ({ trace }) => trace?.traceId,
  SPAN_ID: ({ trace }) => trace?.spanId,
  STREAM_ID: ({ requestId }) => requestId,
  ACCESS_LOG_TYPE: () => "DownstreamEnd",
  HOSTNAME: () => hostname(),
};

for (const name of [
  "PROTOCOL",
  "RESPONSE_FLAGS",
  "UPSTREAM_HOST",
  "UPSTREAM_LOCAL_ADDRESS",
  "DOWNSTREAM_REMOTE_ADDRESS",
  "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
  "DOWNSTREAM_LOCAL_ADDRESS",
]) {
  plain.add(simple[name] as Operator);
}

for (const name of [
  "PROTOCOL",
  "RESPONSE_CODE",
  "RESPONSE_CODE_DETAILS",
  "RESPONSE_FLAGS",
  "UPSTREAM_HOST",
  "UPSTREAM_CLUSTER",
  "ROUTE_NAME",
]) {
  steady.add(simple[name] as Operator);
}

/** Configured names as wire text, each made once; emptied when configurations have brought too many. */
const wireNames = new Map<string, string>();
const WIRE_NAMES_MAX = 100_000;

function wireName(name: string): string {
  let wire = wireNames.get(name);
  if (wire === undefined) {
    wire = toWire(name);
    if (wireNames.size >= WIRE_NAMES_MAX) wireNames.clear();
    wireNames.set(name, wire);
  }
  return wire;
}

const ipOf = (address: string) => address.slice(0, address.lastIndexOf(":")).replace(/^\[(.*)\]$/, "$1");
const portOf = (address: string) => Number(address.slice(address.lastIndexOf(":") + 1));

const requestHeader = (name: string): Operator => {
  const lower = name.toLowerCase();
  const read = headerReader(lower);
  if (lower === ":method" || lower === ":authority") {
    // The codec lets neither quotes nor backslashes into them.
    const checked: Operator = ({ head }) => head && read(head);
    plain.add(checked);
    return checked;
  }
  if (lower === "x-request-id") return ({ head, requestId }) => (head && read(head)) ?? requestId;
  return ({ head }) => head && read(head);
};

const responseHeader = (name: string): Operator => {
  const lower = name.toLowerCase();
  if (lower === ":status") return ({ status }) => (status === 0 ? undefined : String(status));
  return ({ responseHeaders }) => responseHeaders?.get(lower);
};

const responseTrailer = (name: string): Operator => {
  const lower = name.toLowerCase();
  return ({ responseTrailers }) => responseTrailers?.get(lower);
};

/**
 * Compiles one command operator, such as REQ(X?Y):Z, without the percent signs. What is wrong with it is returned as text
 * (proxy-parity 3.14: an unknown operator is refused).
 * https://www.envoyproxy.io/docs/envoy/latest/configuration/observability/access_log/usage#command-operators
 */
export function compileOperator(text: string): Operator | string {
  const parsed = /^([A-Z_0-9]+)(?:\(([^)]*)\))?(?::([0-9]+))?$/.exec(text);
  if (parsed === null) return `%${text}% is not an operator`;
  const [, name = "", argument, length] = parsed;
  const operator = byName(name, argument);
  if (typeof operator === "string" || length === undefined) return operator;
  const lengthMax = Number(length);
  return (record) => {
    const value = operator(record);
    return typeof value === "string" ? value.slice(0, lengthMax) : value;
  };
}

function byName(name: string, argument: string | undefined): Operator | string {
  switch (name) {
    case "START_TIME": {
      const time = compileStartTime(argument ?? "");
      if (argument === undefined && typeof time !== "string") plain.add(time);
      return time;
    }
    case "REQ":
      return either(name, argument, requestHeader);
    case "RESP":
      return either(name, argument, responseHeader);
    case "TRAILER":
      return either(name, argument, responseTrailer);
    case "GRPC_STATUS":
      return grpcStatusOperator(argument);
    case "ENVIRONMENT":
      return environmentOperator(argument);
    case "QUERY_PARAM":
      return queryParamOperator(argument);
    case "PATH":
      return pathOperator(argument);
    case "DYNAMIC_METADATA":
      return metadataOperator(argument);
    case "FILTER_STATE":
      return argument === undefined ? `%${name}% needs an argument` : unset;
    default: {
      const operator = simple[name];
      if (operator === undefined) return `%${name}% is not supported`;
      return argument === undefined ? operator : `%${name}% takes no argument`;
    }
  }
}

/** NAME(X?Y): header X, or Y where there is no X. */
function either(name: string, argument: string | undefined, header: (name: string) => Operator): Operator | string {
  const [first = "", second, ...more] = (argument ?? "").split("?");
  if (first === "" || second === "" || more.length > 0) return `%${name}% needs one or two header names`;
  const main = header(first);
  if (second === undefined) return main;
  const alternative = header(second);
  return (record) => main(record) ?? alternative(record);
}
