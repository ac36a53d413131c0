import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";

import type { DataSource, TransportSocket } from "#envoy/config/core/v3/base_pb.ts";
import {
  type CertificateValidationContext,
  CertificateValidationContext_TrustChainVerification as TrustChain,
  type SubjectAltNameMatcher,
  SubjectAltNameMatcher_SanType as SanType,
} from "#envoy/extensions/transport_sockets/tls/v3/common_pb.ts";
import {
  type UpstreamTlsContext,
  UpstreamTlsContextSchema,
} from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import { unpack } from "#proto/registry.ts";

import type { Place } from "../compile.ts";
import type { UpstreamTls } from "./cluster.ts";

const RAW_BUFFER = "envoy.extensions.transport_sockets.raw_buffer.v3.RawBuffer";

/** Compiles a cluster's transport_socket: TLS, or undefined for plain text (none, or raw_buffer). */
export function compileTransportSocket(socket: TransportSocket | undefined, place: Place): UpstreamTls | undefined {
  if (socket === undefined) return undefined;
  const at = place.field("transport_socket").field("typed_config");
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
  return compileTls(unpacked.message as UpstreamTlsContext, at);
}

function compileTls(context: UpstreamTlsContext, place: Place): UpstreamTls {
  const at = place.field("common_tls_context");
  refuseOfServers(context.commonTlsContext, at);
  const validation = context.commonTlsContext?.validationContextType;
  if (validation?.case !== undefined && validation.case !== "validationContext") {
    at.refuse("of the validation contexts only an inline validation_context is supported");
  }
  if (validation?.case !== "validationContext") {
    return { sni: context.sni, verify: false, ca: undefined, subjectAltNames: [] };
  }
  return { sni: context.sni, ...compileValidation(validation.value, at.field("validation_context")) };
}

/** Fields that only our listeners honour; both sides share the message. */
function refuseOfServers(context: UpstreamTlsContext["commonTlsContext"], place: Place): void {
  if (context === undefined) return;
  const refuse = (name: string, isSet: boolean) => {
    if (isSet) place.field(name).refuse("this field is not supported");
  };
  refuse("tls_params", context.tlsParams !== undefined);
  refuse("tls_certificates", context.tlsCertificates.length > 0);
  refuse("tls_certificate_sds_secret_configs", context.tlsCertificateSdsSecretConfigs.length > 0);
  refuse("alpn_protocols", context.alpnProtocols.length > 0);
  const type = context.validationContextType;
  if (type.case !== "validationContext") return;
  const { verifyCertificateHash: hashes, verifyCertificateSpki: spkis, crl } = type.value;
  refuse("validation_context.verify_certificate_hash", hashes.length > 0);
  refuse("validation_context.verify_certificate_spki", spkis.length > 0);
  refuse("validation_context.crl", crl !== undefined);
}

/** As in Envoy, nothing is verified without authorities to trust. */
function compileValidation(context: CertificateValidationContext, place: Place): Omit<UpstreamTls, "sni"> {
  const ca = context.trustedCa && readTrustedCa(context.trustedCa, place.field("trusted_ca"));
  if (context.trustChainVerification !== TrustChain.VERIFY_TRUST_CHAIN) {
    place.field("trust_chain_verification").refuse("only VERIFY_TRUST_CHAIN is supported");
  }
  const trusts = context.trustedCa !== undefined || context.systemRootCerts !== undefined;
  if (!trusts && context.matchTypedSubjectAltNames.length > 0) {
    place.refuse(
      "match_typed_subject_alt_names needs trusted_ca or system_root_certs: names that anybody may sign prove nothing",
    );
  }
  const subjectAltNames = context.matchTypedSubjectAltNames.flatMap((matcher, index) => {
    const name = subjectAltName(matcher, place.item("match_typed_subject_alt_names", index));
    return name === undefined ? [] : [name];
  });
  return { verify: trusts, ca, subjectAltNames };
}

function subjectAltName({ sanType, matcher }: SubjectAltNameMatcher, place: Place): string | undefined {
  if (sanType !== SanType.DNS && sanType !== SanType.IP_ADDRESS) {
    place.field("san_type").refuse("only DNS and IP_ADDRESS are supported");
    return undefined;
  }
  if (matcher?.matchPattern.case !== "exact") {
    place.field("matcher").refuse("only exact is supported");
    return undefined;
  }
  return matcher.matchPattern.value;
}

/** PEM text of the authorities, checked, so that a wrong file is refused now rather than with every connection. */
function readTrustedCa({ specifier }: DataSource, place: Place): string | undefined {
  let pem: string;
  switch (specifier.case) {
    case "inlineString":
      pem = specifier.value;
      break;
    case "inlineBytes":
      pem = Buffer.from(specifier.value).toString("utf8");
      break;
    case "filename":
      try {
        pem = readFileSync(specifier.value, "utf8");
      } catch (error) {
        place.field("filename").refuse(`cannot be read: ${error instanceof Error ? error.message : String(error)}`);
        return undefined;
      }
      break;
    default:
      place.refuse("only filename, inline_bytes and inline_string are supported");
      return undefined;
  }
  try {
    if (!pem.includes("-----BEGIN CERTIFICATE-----")) throw new Error("it has no PEM certificate");
    createSecureContext({ ca: pem });
    return pem;
  } catch (error) {
    place.refuse(`is not a list of certificates: ${error instanceof Error ? error.message : String(error)}`);
    return undefined;
  }
}
