import { createSecureContext, type SecureVersion } from "node:tls";

import {
  type TlsParameters as Message,
  TlsParameters_TlsProtocol as TlsProtocol,
} from "#envoy/extensions/transport_sockets/tls/v3/common_pb.ts";

import type { Place } from "../compile.ts";

/** Envoy's TlsParameters as node:tls takes them; undefined: Node's defaults. */
export interface TlsParameters {
  readonly minVersion: SecureVersion;
  readonly maxVersion: SecureVersion;
  readonly ciphers: string | undefined;
  readonly ecdhCurve: string | undefined;
  readonly sigalgs: string | undefined;
}

/** Versions by number; older ones are broken (RFC 8996) and refused. */
const versions: Partial<Readonly<Record<TlsProtocol, SecureVersion>>> = {
  [TlsProtocol.TLSv1_2]: "TLSv1.2",
  [TlsProtocol.TLSv1_3]: "TLSv1.3",
};

/** As in Envoy, cipher_suites concern TLS 1.2 only: the suites of TLS 1.3 are always there. */
const TLS13_SUITES = "TLS_AES_128_GCM_SHA256:TLS_AES_256_GCM_SHA384:TLS_CHACHA20_POLY1305_SHA256";

/** Compiles the parameters of either side. What is not set is TLS 1.2 to 1.3, which are Envoy's defaults, too. */
export function compileTlsParameters(message: Message | undefined, place: Place): TlsParameters {
  const version = (value: TlsProtocol | undefined, otherwise: SecureVersion, field: string): SecureVersion => {
    if (value === undefined || value === TlsProtocol.TLS_AUTO) return otherwise;
    const found = versions[value];
    if (found === undefined) place.field(field).refuse("only TLSv1_2 and TLSv1_3 are supported");
    return found ?? otherwise;
  };
  const minVersion = version(message?.tlsMinimumProtocolVersion, "TLSv1.2", "tls_minimum_protocol_version");
  const maxVersion = version(message?.tlsMaximumProtocolVersion, "TLSv1.3", "tls_maximum_protocol_version");
  if (minVersion > maxVersion) place.field("tls_maximum_protocol_version").refuse("is below the minimum");
  // BoringSSL writes suites of equal preference as [A|B].
  const suites = (message?.cipherSuites ?? []).flatMap((suite) => suite.replace(/^\[(.*)\]$/, "$1").split("|"));
  const parameters = {
    minVersion,
    maxVersion,
    ciphers: suites.length === 0 ? undefined : `${TLS13_SUITES}:${suites.join(":")}`,
    ecdhCurve: message?.ecdhCurves.join(":") || undefined,
    sigalgs: message?.signatureAlgorithms.join(":") || undefined,
  };
  check({ ciphers: parameters.ciphers }, place.field("cipher_suites"));
  check({ ecdhCurve: parameters.ecdhCurve }, place.field("ecdh_curves"));
  check({ sigalgs: parameters.sigalgs }, place.field("signature_algorithms"));
  return parameters;
}

function check(options: Readonly<Record<string, string | undefined>>, place: Place): void {
  if (Object.values(options).every((value) => value === undefined)) return;
  try {
    createSecureContext(options);
  } catch {
    place.refuse("has a name that OpenSSL does not know");
  }
}
