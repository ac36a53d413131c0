import { create, toBinary } from "@bufbuild/protobuf";

import { type DataSource, DataSourceSchema } from "#envoy/config/core/v3/base_pb.ts";
import {
  type SdsSecretConfig,
  SdsSecretConfigSchema,
  SecretSchema,
} from "#envoy/extensions/transport_sockets/tls/v3/secret_pb.ts";
import { resourceType } from "#proto/resource-types.ts";
import type { CaCertificate, Certificate } from "#sluice/model/v1/certificate_pb.ts";
import type { SecretValue } from "#sluice/model/v1/secret_pb.ts";

import { caSecretName, certificateSecretName } from "./names.ts";
import type { EncodedResource } from "./service.ts";

const sds = resourceType("SDS").typeUrl;

/** A certificate with its key. Nothing but this secret changes when it is renewed. */
export function toCertificateSecret({ name, certificateChain, privateKey }: Certificate): EncodedResource {
  const secret = create(SecretSchema, {
    name: certificateSecretName(name),
    type: {
      case: "tlsCertificate",
      value: { certificateChain: inline(certificateChain), privateKey: toDataSource(privateKey?.source) },
    },
  });
  return { typeUrl: sds, name: secret.name, bytes: toBinary(SecretSchema, secret) };
}

/** Authorities, for whatever validates certificates by them; which names are expected is said there. */
export function toCaSecret({ name, certificates, revocationLists }: CaCertificate): EncodedResource {
  const secret = create(SecretSchema, {
    name: caSecretName(name),
    type: {
      case: "validationContext",
      value: { trustedCa: inline(certificates), ...(revocationLists !== "" && { crl: inline(revocationLists) }) },
    },
  });
  return { typeUrl: sds, name: secret.name, bytes: toBinary(SecretSchema, secret) };
}

/** How a TLS context names a secret of this control plane. */
export const secretConfig = (name: string): SdsSecretConfig =>
  create(SdsSecretConfigSchema, { name, sdsConfig: { configSourceSpecifier: { case: "ads", value: {} } } });

const inline = (text: string): DataSource =>
  create(DataSourceSchema, { specifier: { case: "inlineString", value: text } });

/** Variables and files are those of the data plane's machine. */
function toDataSource(source: SecretValue["source"] | undefined): DataSource {
  switch (source?.case) {
    case "value":
      return inline(source.value);
    case "env":
      return create(DataSourceSchema, { specifier: { case: "environmentVariable", value: source.value } });
    case "file":
      return create(DataSourceSchema, { specifier: { case: "filename", value: source.value } });
    default:
      throw new Error("a certificate has no readable key");
  }
}
