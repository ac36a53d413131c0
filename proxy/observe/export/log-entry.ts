import { create, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { durationFromMs, timestampFromMs } from "@bufbuild/protobuf/wkt";

import type { AddressSchema } from "#envoy/config/core/v3/address_pb.ts";
import { RequestMethod } from "#envoy/config/core/v3/base_pb.ts";
import {
  AccessLogType,
  HTTPAccessLogEntry_HTTPVersion as HttpVersion,
  HTTPAccessLogEntrySchema,
  type ResponseFlagsSchema,
  ResponseFlags_Unauthorized_Reason as UnauthorizedReason,
  TLSProperties_TLSVersion as TlsVersion,
  type TLSPropertiesSchema,
} from "#envoy/data/accesslog/v3/accesslog_pb.ts";

import { fromWire } from "../../route/text.ts";
import type { RequestRecord } from "../access-log.ts";
import { responseFlags } from "../response-flags.ts";

/** Header fields that the operator wants besides those that have a place of their own; lower case. */
export interface ExtraHeaders {
  readonly request: readonly string[];
  readonly response: readonly string[];
  readonly trailers: readonly string[];
}

const versions = {
  "HTTP/1.0": HttpVersion.HTTP10,
  "HTTP/1.1": HttpVersion.HTTP11,
  "HTTP/2": HttpVersion.HTTP2,
} as const;

const tlsVersions: Readonly<Record<string, TlsVersion>> = {
  TLSv1: TlsVersion.TLSv1,
  "TLSv1.1": TlsVersion.TLSv1_1,
  "TLSv1.2": TlsVersion.TLSv1_2,
  "TLSv1.3": TlsVersion.TLSv1_3,
};

/** One request as the gRPC access log service gets it (Envoy HttpGrpcAccessLog::emitLog), encoded. */
export function encodeLogEntry(record: RequestRecord, extra: ExtraHeaders): Uint8Array {
  const { head, responseHeaders, startedAt, peer } = record;
  const since = (at: number) => (at < 0 ? undefined : durationFromMs(Math.max(0, Math.round(at - startedAt))));
  const text = (name: string) => fromWire(head?.headers.get(name) ?? "");
  return toBinary(
    HTTPAccessLogEntrySchema,
    create(HTTPAccessLogEntrySchema, {
      protocolVersion: record.protocol === undefined ? HttpVersion.PROTOCOL_UNSPECIFIED : versions[record.protocol],
      commonProperties: {
        downstreamRemoteAddress: addressOf(record.downstreamRemoteAddress, record.downstreamRemotePort),
        downstreamDirectRemoteAddress: addressOf(peer.downstreamRemoteAddress, peer.downstreamRemotePort),
        downstreamLocalAddress: splitAddress(record.downstreamLocalAddress),
        tlsProperties: tlsOf(record),
        startTime: timestampFromMs(record.startMs),
        timeToLastRxByte: since(record.requestEndAt),
        timeToFirstUpstreamRxByte: since(record.responseHeadAt),
        timeToFirstDownstreamTxByte: since(record.responseStartAt),
        timeToLastDownstreamTxByte: since(record.endAt),
        duration: since(record.endAt),
        upstreamRemoteAddress: splitAddress(record.upstreamHost),
        upstreamLocalAddress: splitAddress(record.upstreamLocalAddress),
        upstreamCluster: record.upstreamCluster ?? "",
        upstreamTransportFailureReason: record.upstreamTransportFailure ?? "",
        upstreamRequestAttemptCount: record.attempts,
        responseFlags: flagsOf(record.flags),
        routeName: record.routeName ?? "",
        streamId: record.requestId ?? "",
        accessLogType: AccessLogType.DownstreamEnd,
      },
      request: head && {
        requestMethod: RequestMethod[head.method as keyof typeof RequestMethod] ?? RequestMethod.METHOD_UNSPECIFIED,
        scheme: head.scheme,
        authority: fromWire(head.authority),
        path: fromWire(head.path),
        userAgent: text("user-agent"),
        referer: text("referer"),
        forwardedFor: text("x-forwarded-for"),
        requestId: text("x-request-id"),
        originalPath: text("x-envoy-original-path"),
        requestBodyBytes: BigInt(record.bytesReceived),
        requestHeaders: pick(head.headers, extra.request),
      },
      response: {
        responseCode: record.status === 0 ? undefined : record.status,
        responseBodyBytes: BigInt(record.bytesSent),
        responseHeaders: pick(responseHeaders, extra.response),
        responseTrailers: pick(record.responseTrailers, extra.trailers),
        responseCodeDetails: record.details,
      },
    }),
  );
}

function addressOf(address: string, portValue: number): MessageInitShape<typeof AddressSchema> {
  return {
    address: { case: "socketAddress", value: { address, portSpecifier: { case: "portValue", value: portValue } } },
  };
}

/** Of "address:port", IPv6 in brackets or not. */
function splitAddress(text: string | undefined): MessageInitShape<typeof AddressSchema> | undefined {
  if (text === undefined) return undefined;
  const colon = text.lastIndexOf(":");
  return addressOf(text.slice(0, colon).replace(/^\[(.*)\]$/, "$1"), Number(text.slice(colon + 1)));
}

function pick(headers: { get(name: string): string | undefined } | undefined, names: readonly string[]) {
  const found: Record<string, string> = {};
  for (const name of names) {
    const value = headers?.get(name);
    if (value !== undefined) found[name] = fromWire(value);
  }
  return found;
}

function flagsOf(flags: readonly string[]): MessageInitShape<typeof ResponseFlagsSchema> | undefined {
  if (flags.length === 0) return undefined;
  const set: Record<string, unknown> = {};
  for (const flag of flags) {
    const [, field] = responseFlags[flag as keyof typeof responseFlags] ?? ["", ""];
    if (field === "unauthorizedDetails") set[field] = { reason: UnauthorizedReason.EXTERNAL_SERVICE };
    else if (field !== "") set[field] = true;
  }
  return set;
}

function tlsOf({ peer }: RequestRecord): MessageInitShape<typeof TLSPropertiesSchema> | undefined {
  const { tls } = peer;
  if (tls === undefined) return undefined;
  const { certificate } = tls;
  const san = (kind: "uri" | "dns") => (value: string) => ({ san: { case: kind, value } }) as const;
  return {
    tlsVersion: tlsVersions[tls.version] ?? TlsVersion.VERSION_UNSPECIFIED,
    tlsSniHostname: tls.serverName,
    tlsSessionId: tls.sessionId,
    ...(certificate !== undefined && {
      peerCertificateProperties: {
        subject: certificate.subject,
        issuer: certificate.issuer,
        subjectAltName: [...certificate.uriSans.map(san("uri")), ...certificate.dnsSans.map(san("dns"))],
      },
    }),
  };
}
