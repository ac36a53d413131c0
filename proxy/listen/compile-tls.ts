import type { FilterChain } from "#envoy/config/listener/v3/listener_components_pb.ts";
import {
  type CommonTlsContext,
  type DownstreamTlsContext,
  DownstreamTlsContext_OcspStaplePolicy as OcspStaplePolicy,
  DownstreamTlsContextSchema,
} from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import { RawBufferSchema } from "#envoy/extensions/transport_sockets/raw_buffer/v3/raw_buffer_pb.ts";
import { unpack } from "#proto/registry.ts";

import { durationMs, type Place } from "../compile.ts";
import { compileTlsCertificate } from "../tls/certificate.ts";
import { compileTlsParameters } from "../tls/parameters.ts";
import { compileTicketKeys } from "../tls/secret.ts";
import { compileValidationSources, secretOf } from "../tls/validation-source.ts";
import { applicationProtocols } from "./application-protocols.ts";
import type { DownstreamTls } from "./downstream-tls.ts";

/** How long a client may take for its handshake; Envoy has no limit unless transport_socket_connect_timeout sets one. */
const HANDSHAKE_MS_DEFAULT = 15_000;

/** Compiles a filter chain's transport_socket; undefined: plain text, or a problem was reported. */
export function compileDownstreamTls(
  { transportSocket, transportSocketConnectTimeout }: FilterChain,
  place: Place,
): DownstreamTls | undefined {
  if (transportSocket === undefined) return undefined;
  const at = place.field("transport_socket").field("typed_config");
  const { configType } = transportSocket;
  const unpacked = configType.case === "typedConfig" ? unpack(configType.value) : undefined;
  if (unpacked?.kind === "message" && unpacked.schema.typeName === RawBufferSchema.typeName) return undefined;
  if (unpacked?.kind !== "message" || unpacked.schema.typeName !== DownstreamTlsContextSchema.typeName) {
    at.refuse("only DownstreamTlsContext and RawBuffer are supported");
    return undefined;
  }
  const timeoutMs = durationMs(transportSocketConnectTimeout, 0) || HANDSHAKE_MS_DEFAULT;
  return compileContext(unpacked.message as DownstreamTlsContext, timeoutMs, at);
}

function compileContext(message: DownstreamTlsContext, handshakeTimeoutMs: number, place: Place): DownstreamTls {
  const { commonTlsContext: common, sessionTicketKeysType: tickets } = message;
  const at = place.field("common_tls_context");
  if (message.ocspStaplePolicy !== OcspStaplePolicy.LENIENT_STAPLING) {
    place.field("ocsp_staple_policy").refuse("only LENIENT_STAPLING is supported");
  }
  if (common === undefined) at.refuse("must be set");
  const sessionTimeoutMs = durationMs(message.sessionTimeout, undefined);
  return {
    certificates: common === undefined ? [] : compileCertificates(common, at),
    validation: common === undefined ? [] : compileValidationSources(common, at),
    requireClientCertificate: message.requireClientCertificate ?? false,
    requireSni: message.requireSni ?? false,
    applicationProtocols: compileProtocols(common?.alpnProtocols ?? [], at),
    ...compileTlsParameters(common?.tlsParams, at.field("tls_params")),
    ticketKeys: compileTickets(tickets, place),
    disableTickets: tickets.case === "disableStatelessSessionResumption" && tickets.value,
    sessionTimeoutSeconds:
      sessionTimeoutMs === undefined ? undefined : Math.max(1, Math.floor(sessionTimeoutMs / 1000)),
    handshakeTimeoutMs,
  };
}

function compileCertificates(common: CommonTlsContext, place: Place): DownstreamTls["certificates"] {
  const own = common.tlsCertificates.flatMap((message, index) => {
    const certificate = compileTlsCertificate(message, place.item("tls_certificates", index));
    return certificate === undefined ? [] : [{ own: certificate }];
  });
  const named = common.tlsCertificateSdsSecretConfigs.map((config, index) =>
    secretOf(config, place.item("tls_certificate_sds_secret_configs", index)),
  );
  if (common.tlsCertificates.length + named.length === 0) place.refuse("a server needs a certificate");
  // As Envoy: it would be unclear which come first.
  if (own.length > 0 && named.length > 0) place.refuse("tls_certificates and their SDS configs exclude each other");
  return [...own, ...named];
}

function compileTickets(
  tickets: DownstreamTlsContext["sessionTicketKeysType"],
  place: Place,
): DownstreamTls["ticketKeys"] {
  if (tickets.case === "sessionTicketKeysSdsSecretConfig") {
    return secretOf(tickets.value, place.field("session_ticket_keys_sds_secret_config"));
  }
  if (tickets.case !== "sessionTicketKeys") return undefined;
  const own = compileTicketKeys(tickets.value, place.field("session_ticket_keys"));
  return own && { own };
}

/** Protocols without a codec are not negotiated; a list of only such ones is a mistake. */
function compileProtocols(wished: readonly string[], place: Place): readonly string[] {
  const spoken = wished.filter((one) => applicationProtocols.includes(one));
  if (wished.length > 0 && spoken.length === 0) {
    place.field("alpn_protocols").refuse(`one of ${applicationProtocols.join(", ")} must be there`);
  }
  return spoken;
}
