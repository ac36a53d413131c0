import { create } from "@bufbuild/protobuf";

import { type Metadata, type TransportSocket, TransportSocketSchema } from "#envoy/config/core/v3/base_pb.ts";
import { type Filter, type FilterChain, FilterChainSchema } from "#envoy/config/listener/v3/listener_components_pb.ts";
import {
  TlsParameters_TlsProtocol,
  TlsParametersSchema,
} from "#envoy/extensions/transport_sockets/tls/v3/common_pb.ts";
import {
  type CommonTlsContext,
  CommonTlsContext_CombinedCertificateValidationContextSchema,
  DownstreamTlsContextSchema,
} from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import { type ClientValidation, type Listener, TlsVersion } from "#sluice/model/v1/gateway_group_pb.ts";

import { ANY_SNI, type CertificateFacts } from "../model/certificate.ts";
import { compareText } from "../model/order.ts";
import { extension } from "./any.ts";
import { speaksHttp2 } from "./http2-options.ts";
import { caSecretName, certificateSecretName } from "./names.ts";
import { subjectAltNameMatcher } from "./san-matcher.ts";
import { secretConfig } from "./secrets.ts";

/** What the certificates of a group are for, by their names. */
export type CertificateIndex = ReadonlyMap<string, CertificateFacts>;

/**
 * The filter chains of a TLS listener: one for each set of certificates that the same server names lead to, and one without a match for
 * all other clients, where a certificate is for them. All have the same network filters and metadata. None if there is no certificate.
 */
export function toTlsFilterChains(
  listener: Listener,
  certificates: CertificateIndex,
  filters: readonly Filter[],
  metadata: Metadata | undefined,
): FilterChain[] {
  const bySet = new Map<string, { readonly names: readonly string[]; readonly snis: string[] }>();
  const claims = [...claimsOf(listener, certificates)].sort(([a], [b]) => compareText(a, b));
  for (const [sni, names] of claims) {
    const key = names.join(",");
    const set = bySet.get(key) ?? { names, snis: [] };
    bySet.set(key, set);
    set.snis.push(sni);
  }
  return [...bySet].flatMap(([key, { names, snis: all }]) => {
    // Where everybody gets the same, there is nothing to choose.
    const snis = bySet.size === 1 && all.includes(ANY_SNI) ? [ANY_SNI] : all;
    const transportSocket = toTransportSocket(listener, names);
    const chain = { filters: [...filters], transportSocket, metadata };
    const serverNames = snis.filter((sni) => sni !== ANY_SNI);
    return [
      ...(serverNames.length > 0
        ? [create(FilterChainSchema, { ...chain, name: key, filterChainMatch: { serverNames } })]
        : []),
      ...(snis.includes(ANY_SNI) ? [create(FilterChainSchema, { ...chain, name: `${key} (any name)` })] : []),
    ];
  });
}

/** By server name, the certificates that a listener has for it: one of each key type at most (model/certificate.ts). */
function claimsOf({ tls }: Listener, certificates: CertificateIndex): ReadonlyMap<string, readonly string[]> {
  const named = tls?.certificates ?? [];
  const claims = new Map<string, string[]>();
  for (const name of named.length > 0 ? named : [...certificates.keys()].sort(compareText)) {
    const snis = new Set(certificates.get(name)?.snis);
    // Who names certificates has a first one, which is for everybody else.
    if (name === named[0]) snis.add(ANY_SNI);
    for (const sni of snis) claims.set(sni, [...(claims.get(sni) ?? []), name].sort(compareText));
  }
  return claims;
}

const versions: ReadonlyMap<TlsVersion, TlsParameters_TlsProtocol> = new Map([
  [TlsVersion.TLS1_2, TlsParameters_TlsProtocol.TLSv1_2],
  [TlsVersion.TLS1_3, TlsParameters_TlsProtocol.TLSv1_3],
]);

function toTransportSocket(listener: Listener, certificates: readonly string[]): TransportSocket {
  const { tls } = listener;
  const validation = tls?.clientValidation;
  const alpn = tls?.alpn ?? [];
  const context = create(DownstreamTlsContextSchema, {
    commonTlsContext: {
      // Said aloud, since data planes' defaults change with their versions.
      tlsParams: create(TlsParametersSchema, {
        tlsMinimumProtocolVersion:
          versions.get(tls?.minVersion ?? TlsVersion.UNSPECIFIED) ?? TlsParameters_TlsProtocol.TLSv1_2,
        tlsMaximumProtocolVersion: TlsParameters_TlsProtocol.TLSv1_3,
      }),
      tlsCertificateSdsSecretConfigs: certificates.map((name) => secretConfig(certificateSecretName(name))),
      validationContextType: validationContext(validation),
      alpnProtocols: alpn.length > 0 ? alpn : [...(speaksHttp2(listener) ? ["h2"] : []), "http/1.1"],
    },
    requireClientCertificate: validation && (validation.required ?? true),
  });
  return create(TransportSocketSchema, extension("envoy.transport_sockets.tls", DownstreamTlsContextSchema, context));
}

function validationContext(validation: ClientValidation | undefined): CommonTlsContext["validationContextType"] {
  if (validation === undefined) return { case: undefined };
  const config = secretConfig(caSecretName(validation.ca));
  if (validation.subjectAltNames.length === 0) return { case: "validationContextSdsSecretConfig", value: config };
  return combinedValidation(config, validation.subjectAltNames);
}

/** Authorities by SDS, and names that are expected here. */
export const combinedValidation = (
  config: ReturnType<typeof secretConfig>,
  names: readonly string[],
): CommonTlsContext["validationContextType"] => ({
  case: "combinedValidationContext",
  value: create(CommonTlsContext_CombinedCertificateValidationContextSchema, {
    defaultValidationContext: { matchTypedSubjectAltNames: names.map(subjectAltNameMatcher) },
    validationContextSdsSecretConfig: config,
  }),
});
