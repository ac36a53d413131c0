const UNTRUSTED =
  "no trusted authority signed the server's certificate: give the registry's tls.ca_certificates, or the kubeconfig's certificate-authority";

/** What Node and OpenSSL say in words that help nobody who has to mend it, by their codes. */
const better: Readonly<Record<string, string>> = {
  DEPTH_ZERO_SELF_SIGNED_CERT: UNTRUSTED,
  SELF_SIGNED_CERT_IN_CHAIN: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT: UNTRUSTED,
  UNABLE_TO_GET_ISSUER_CERT_LOCALLY: UNTRUSTED,
  UNABLE_TO_VERIFY_LEAF_SIGNATURE: UNTRUSTED,
  CERT_HAS_EXPIRED: "the server's certificate has expired",
  ERR_SSL_WRONG_VERSION_NUMBER: "the server doesn't speak TLS at this port: is the address http rather than https?",
  ENOTFOUND: "no name server knows the host's name: is it right, and known where the control plane runs?",
  // Of undici.
  UND_ERR_CONNECT_TIMEOUT: "the server doesn't take the connection: is something between that drops it?",
  UND_ERR_HEADERS_TIMEOUT: "the server took the question and gave no answer in time",
  UND_ERR_BODY_TIMEOUT: "the server began to answer and stopped",
  // For a connection that ended before an answer.
  UND_ERR_SOCKET:
    "the server closed the connection without an answer: does it speak TLS at this port (https), or was it restarted?",
};

/** Why a connection could not be made or broke, for operators: one line, without secrets. */
export function networkWords(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  // Of several attempts (IPv6, then IPv4), which have no message of their own together.
  if (error instanceof AggregateError && error.message === "") return error.errors.map(networkWords).join("; ");
  const code = "code" in error && typeof error.code === "string" ? error.code : "";
  const words = better[code] ?? (error.message === "" ? error.name : error.message.trim());
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") return `${words} Give the name in it as tls.server_name`;
  return words;
}
