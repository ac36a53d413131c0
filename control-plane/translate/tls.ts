import { create } from "@bufbuild/protobuf";

import { type TransportSocket, TransportSocketSchema } from "#envoy/config/core/v3/base_pb.ts";
import {
  type CertificateValidationContext,
  CertificateValidationContextSchema,
} from "#envoy/extensions/transport_sockets/tls/v3/common_pb.ts";
import { type CommonTlsContext, UpstreamTlsContextSchema } from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import type { Upstream, UpstreamTls } from "#sluice/model/v1/upstream_pb.ts";

import { isIpAddress } from "../model/hosts.ts";
import { extension } from "./any.ts";
import { combinedValidation } from "./filter-chains.ts";
import { caSecretName, certificateSecretName } from "./names.ts";
import { subjectAltNameMatcher } from "./san-matcher.ts";
import { secretConfig } from "./secrets.ts";

/** Where Debian and Alpine keep the authorities, and Sluice's and Envoy's container images. */
const SYSTEM_CA_CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt";

/** TLS to an upstream's nodes; undefined for plain text. */
export function toTransportSocket(upstream: Upstream): TransportSocket | undefined {
  const { tls } = upstream;
  if (tls === undefined) return undefined;
  const hosts = [...new Set(upstream.nodes.map(({ host }) => host))];
  // Validation leaves at most one name among nodes without `sni`.
  const sni = tls.sni || (hosts.find((host) => !isIpAddress(host)) ?? "");
  const context = create(UpstreamTlsContextSchema, {
    sni,
    commonTlsContext: {
      tlsCertificateSdsSecretConfigs:
        tls.clientCertificate === "" ? [] : [secretConfig(certificateSecretName(tls.clientCertificate))],
      validationContextType: validation(tls, sni === "" ? hosts : [sni]),
    },
  });
  return create(TransportSocketSchema, extension("envoy.transport_sockets.tls", UpstreamTlsContextSchema, context));
}

function validation(tls: UpstreamTls, expected: readonly string[]): CommonTlsContext["validationContextType"] {
  if (tls.verify === false) return { case: undefined };
  const names = tls.subjectAltNames.length > 0 ? tls.subjectAltNames : expected;
  if (tls.ca !== "") return combinedValidation(secretConfig(caSecretName(tls.ca)), names);
  return { case: "validationContext", value: validationContext(tls, names) };
}

function validationContext(tls: UpstreamTls, names: readonly string[]): CertificateValidationContext {
  return create(CertificateValidationContextSchema, {
    trustedCa: {
      specifier: tls.caCertificates
        ? { case: "inlineString", value: tls.caCertificates }
        : { case: "filename", value: SYSTEM_CA_CERTIFICATES },
    },
    // Without names, any certificate of a trusted authority would do.
    matchTypedSubjectAltNames: names.map(subjectAltNameMatcher),
  });
}
