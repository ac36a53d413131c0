import { createSecureContext, type SecureVersion } from "node:tls";

import type { FilterChain } from "#envoy/config/listener/v3/listener_components_pb.ts";
import {
  type TlsParameters,
  TlsParameters_TlsProtocol as TlsProtocol,
} from "#envoy/extensions/transport_sockets/tls/v3/common_pb.ts";
import type { SdsSecretConfig } from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
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
import { compileTicketKeys } from "../tls/secret.ts";
import { compileValidation } from "../tls/validation.ts";
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
    validation: common === undefined ? [] : compileValidations(common, at),
    requireClientCertificate: message.requireClientCertificate ?? false,
    requireSni: message.requireSni ?? false,
    applicationProtocols: compileProtocols(common?.alpnProtocols ?? [], at),
    ...compileParameters(common?.tlsParams, at.field("tls_params")),
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

function compileValidations(common: CommonTlsContext, place: Place): DownstreamTls["validation"] {
  const { validationContextType: type } = common;
  switch (type.case) {
    case undefined:
      return [];
    case "validationContext":
      return [{ own: compileValidation(type.value, place.field("validation_context")) }];
    case "validationContextSdsSecretConfig":
      return [secretOf(type.value, place.field("validation_context_sds_secret_config"))];
    case "combinedValidationContext": {
      const at = place.field("combined_validation_context");
      const { defaultValidationContext: otherwise, validationContextSdsSecretConfig: secret } = type.value;
      if (otherwise === undefined || secret === undefined) {
        at.refuse("default_validation_context and validation_context_sds_secret_config must be set");
        return [];
      }
      return [
        { own: compileValidation(otherwise, at.field("default_validation_context")) },
        secretOf(secret, at.field("validation_context_sds_secret_config")),
      ];
    }
    default:
      place.refuse(`${type.case} is not supported`);
      return [];
  }
}

function secretOf({ name, sdsConfig }: SdsSecretConfig, place: Place): { readonly secret: string } {
  if (name === "") place.field("name").refuse("must not be empty");
  const source = sdsConfig?.configSourceSpecifier.case;
  if (source !== "ads" && source !== "self") place.field("sds_config").refuse("only ads is supported");
  return { secret: name };
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

const versions: Readonly<Record<TlsProtocol, SecureVersion | undefined>> = {
  [TlsProtocol.TLS_AUTO]: undefined,
  [TlsProtocol.TLSv1_0]: "TLSv1",
  [TlsProtocol.TLSv1_1]: "TLSv1.1",
  [TlsProtocol.TLSv1_2]: "TLSv1.2",
  [TlsProtocol.TLSv1_3]: "TLSv1.3",
};

/** The suites of TLS 1.3 are always on, as in Envoy, where cipher_suites concerns the versions before. */
const TLS13_CIPHERS = "TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_128_GCM_SHA256";

function compileParameters(
  params: TlsParameters | undefined,
  place: Place,
): Pick<DownstreamTls, "minVersion" | "maxVersion" | "ciphers" | "ecdhCurve" | "sigalgs"> {
  const version = (value: TlsProtocol, field: string, otherwise: SecureVersion): SecureVersion => {
    if (!(value in versions)) place.field(field).refuse(`unknown value ${value}`);
    const found = versions[value] ?? otherwise;
    if (found === "TLSv1" || found === "TLSv1.1") place.field(field).refuse("TLS before 1.2 is not supported");
    return found;
  };
  const minVersion = version(params?.tlsMinimumProtocolVersion ?? 0, "tls_minimum_protocol_version", "TLSv1.2");
  const maxVersion = version(params?.tlsMaximumProtocolVersion ?? 0, "tls_maximum_protocol_version", "TLSv1.3");
  if (minVersion > maxVersion) place.field("tls_maximum_protocol_version").refuse("is less than the minimum");
  // "[A|B]" are suites of equal preference; OpenSSL takes them in their order.
  const suites = params?.cipherSuites.map((suite) => suite.replace(/^\[|\]$/g, "").replaceAll("|", ":")) ?? [];
  const list = (values: readonly string[] | undefined) => (values?.length ? values.join(":") : undefined);
  const result = {
    minVersion,
    maxVersion,
    ciphers: suites.length === 0 ? undefined : `${suites.join(":")}:${TLS13_CIPHERS}`,
    ecdhCurve: list(params?.ecdhCurves),
    sigalgs: list(params?.signatureAlgorithms),
  };
  const { ciphers, ecdhCurve, sigalgs } = result;
  for (const [field, options] of [
    ["cipher_suites", ciphers && { ciphers }],
    ["ecdh_curves", ecdhCurve && { ecdhCurve }],
    ["signature_algorithms", sigalgs && { sigalgs }],
  ] as const) {
    try {
      if (options) createSecureContext(options);
    } catch {
      place.field(field).refuse("has a name that is not known");
    }
  }
  return result;
}
