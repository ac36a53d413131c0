/** Why TLS to an endpoint failed, in the words of Envoy's UPSTREAM_TRANSPORT_FAILURE_REASON (asked of Envoy 1.40). */

/** BoringSSL packs its library's number, 16, in front of a reason's. */
const SSL_LIBRARY = 16 * 2 ** 24;
/** An alert of the peer is the reason 1000 and its number. */
const ALERT_BASE = 1000;

/** BoringSSL's numbers of the reasons that matter most. */
const reasons: Readonly<Record<string, number>> = { CERTIFICATE_VERIFY_FAILED: 125, WRONG_VERSION_NUMBER: 247 };

/** The certificate isn't that of the endpoint that is meant. */
export const verifyFailure = (problem: string): string =>
  tlsError("CERTIFICATE_VERIFY_FAILED", `:verify cert failed: ${problem}`);

/** What OpenSSL says, by the code and the message of Node's error; undefined: it isn't OpenSSL that says it. */
export function handshakeFailure(code: string, message: string): string | undefined {
  if (!code.startsWith("ERR_SSL_")) return undefined;
  // OpenSSL has renamed the oldest alerts.
  const reason = code.slice("ERR_SSL_".length).replace("SSL/TLS_ALERT", "SSLV3_ALERT");
  const alert = /SSL alert number (\d+)/.exec(message)?.[1];
  return tlsError(reason, "", alert === undefined ? undefined : ALERT_BASE + Number(alert));
}

function tlsError(reason: string, more: string, number = reasons[reason]): string {
  const packed = number === undefined ? "" : `|${SSL_LIBRARY + number}:`;
  return `TLS_error:${packed}SSL routines:OPENSSL_internal:${reason}${more}:TLS_error_end`;
}

/** OpenSSL's words for its verdicts on a chain, by the names that Node has for them. */
const verdicts: Readonly<Record<string, string>> = {
  CERT_HAS_EXPIRED: "certificate has expired",
  CERT_NOT_YET_VALID: "certificate is not yet valid",
  CERT_REVOKED: "certificate revoked",
  DEPTH_ZERO_SELF_SIGNED_CERT: "self-signed certificate",
  SELF_SIGNED_CERT_IN_CHAIN: "self-signed certificate in certificate chain",
  UNABLE_TO_GET_CRL: "unable to get certificate CRL",
  UNABLE_TO_GET_ISSUER_CERT: "unable to get issuer certificate",
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: "unable to get local issuer certificate",
  // OpenSSL goes on after the first problem that it finds, BoringSSL does not.
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: "unable to get local issuer certificate",
};

/** A chain that isn't trusted. Node doesn't tell at which depth; nearly always it is the leaf. */
export const chainProblem = (code: string): string =>
  `X509_verify_cert: certificate verification error at depth 0: ${verdicts[code] ?? code}`;

/** A list of a certificate's names, which its owner chose: no more than is good for a log line. */
export function nameList(names: readonly string[]): string {
  const text = names.join(", ");
  return `[${text.length > 200 ? `${text.slice(0, 200)}…` : text}]`;
}
