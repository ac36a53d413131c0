import { create } from "@bufbuild/protobuf";

import { type TransportSocket, TransportSocketSchema } from "#envoy/config/core/v3/base_pb.ts";
import {
  type CertificateValidationContext,
  CertificateValidationContextSchema,
  SubjectAltNameMatcher_SanType,
  SubjectAltNameMatcherSchema,
} from "#envoy/extensions/transport_sockets/tls/v3/common_pb.ts";
import { UpstreamTlsContextSchema } from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import type { Upstream, UpstreamTls } from "#sluice/model/v1/upstream_pb.ts";

import { isIpAddress } from "../model/hosts.ts";
import { extension } from "./any.ts";

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
      validationContextType:
        tls.verify === false
          ? { case: undefined }
          : { case: "validationContext", value: validationContext(tls, sni === "" ? hosts : [sni]) },
    },
  });
  return create(TransportSocketSchema, extension("envoy.transport_sockets.tls", UpstreamTlsContextSchema, context));
}

function validationContext(tls: UpstreamTls, expected: readonly string[]): CertificateValidationContext {
  const names = tls.subjectAltNames.length > 0 ? tls.subjectAltNames : expected;
  return create(CertificateValidationContextSchema, {
    trustedCa: {
      specifier: tls.caCertificates
        ? { case: "inlineString", value: tls.caCertificates }
        : { case: "filename", value: SYSTEM_CA_CERTIFICATES },
    },
    // Without names, any certificate of a trusted authority would do.
    matchTypedSubjectAltNames: names.map((name) =>
      create(SubjectAltNameMatcherSchema, {
        sanType: isIpAddress(name) ? SubjectAltNameMatcher_SanType.IP_ADDRESS : SubjectAltNameMatcher_SanType.DNS,
        matcher: { matchPattern: { case: "exact", value: name } },
      }),
    ),
  });
}
