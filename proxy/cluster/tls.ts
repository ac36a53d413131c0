import type { Cluster } from "#envoy/config/cluster/v3/cluster_pb.ts";
import type { TransportSocket } from "#envoy/config/core/v3/base_pb.ts";
import {
  type CommonTlsContext,
  type UpstreamTlsContext,
  UpstreamTlsContextSchema,
} from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import { unpack } from "#proto/registry.ts";

import type { Place } from "../compile.ts";
import { compileTlsCertificate } from "../tls/certificate.ts";
import { compileTlsParameters } from "../tls/parameters.ts";
import { compileValidationSources, secretOf } from "../tls/validation-source.ts";
import type { ClusterSettings, TlsMatch, UpstreamTls } from "./cluster.ts";
import { labelsOf } from "./endpoint-metadata.ts";
import type { SniOptions } from "./protocol-options.ts";

const RAW_BUFFER = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

/** Compiles a cluster's transport_socket and transport_socket_matches. */
export function compileTransportSockets(
  { transportSocket, transportSocketMatches: matches }: Cluster,
  sni: SniOptions,
  place: Place,
): Pick<ClusterSettings, "tls" | "tlsMatches"> {
  const tls = compileTransportSocket(transportSocket, sni, place.field("transport_socket"));
  if (matches.length === 0) return { tls, tlsMatches: undefined };
  const tlsMatches = matches.map(({ match, transportSocket: own }, index): TlsMatch => {
    const at = place.item("transport_socket_matches", index).field("transport_socket");
    if (own === undefined) at.refuse("must be set");
    return { labels: labelsOf(match), tls: compileTransportSocket(own, sni, at) };
  });
  return { tls, tlsMatches };
}

/** TLS, or undefined for plain text (none, or raw_buffer). */
function compileTransportSocket(
  socket: TransportSocket | undefined,
  sni: SniOptions,
  place: Place,
): UpstreamTls | undefined {
  if (socket === undefined) return undefined;
  const at = place.field("typed_config");
  const { configType } = socket;
  if (configType.case !== "typedConfig") {
    at.refuse("must be set");
    return undefined;
  }
  const unpacked = unpack(configType.value);
  if (unpacked.kind !== "message") {
    at.refuse(`${unpacked.typeName} is not supported`);
    return undefined;
  }
  if (unpacked.schema.typeName === RAW_BUFFER) return undefined;
  if (unpacked.schema.typeName !== UpstreamTlsContextSchema.typeName) {
    at.refuse(`${unpacked.schema.typeName} is not supported`);
    return undefined;
  }
  return compileTls(unpacked.message as UpstreamTlsContext, sni, at);
}

function compileTls(context: UpstreamTlsContext, sni: SniOptions, place: Place): UpstreamTls {
  const at = place.field("common_tls_context");
  const { commonTlsContext: common } = context;
  const validation = common === undefined ? [] : compileValidationSources(common, at);
  for (const source of validation) {
    if (!("own" in source) || validation.length > 1) continue;
    const { ca, names, hashes, spkis } = source.own;
    if (names.length > 0 && ca === undefined && hashes.size + spkis.size === 0) {
      at.field("validation_context").refuse(
        "match_typed_subject_alt_names needs trusted_ca or system_root_certs: names that anybody may sign prove nothing",
      );
    }
  }
  if (sni.autoSanValidation && validation.length === 0) at.refuse("auto_san_validation needs a validation context");
  return {
    sni: context.sni,
    ...sni,
    certificate: common === undefined ? undefined : compileCertificate(common, at),
    validation,
    alpnProtocols: common?.alpnProtocols ?? [],
    // Envoy keeps one session unless told how many.
    resumesSessions: context.maxSessionKeys !== 0,
    ...compileTlsParameters(common?.tlsParams, at.field("tls_params")),
  };
}

/** A client shows one certificate. */
function compileCertificate(common: CommonTlsContext, place: Place): UpstreamTls["certificate"] {
  const { tlsCertificates, tlsCertificateSdsSecretConfigs: secrets } = common;
  if (tlsCertificates.length + secrets.length > 1) place.refuse("only one client certificate is supported");
  const [message] = tlsCertificates;
  const [secret] = secrets;
  if (message !== undefined) {
    const own = compileTlsCertificate(message, place.item("tls_certificates", 0));
    return own && { own };
  }
  return secret && secretOf(secret, place.item("tls_certificate_sds_secret_configs", 0));
}
