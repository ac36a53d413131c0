/** The fields of secrets and of what TLS contexts of both sides share that this proxy honours (see route/fields.ts). */
export const fields: Record<string, Record<string, "used" | "ignored">> = {
  "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext": {
    tls_params: "used",
    tls_certificates: "used",
    tls_certificate_sds_secret_configs: "used",
    validation_context: "used",
    validation_context_sds_secret_config: "used",
    combined_validation_context: "used",
    alpn_protocols: "used",
  },
  "envoy.extensions.transport_sockets.tls.v3.CommonTlsContext.CombinedCertificateValidationContext": {
    default_validation_context: "used",
    validation_context_sds_secret_config: "used",
  },
  "envoy.extensions.transport_sockets.tls.v3.SdsSecretConfig": { name: "used", sds_config: "used" },
  "envoy.extensions.transport_sockets.tls.v3.TlsParameters": {
    tls_minimum_protocol_version: "used",
    tls_maximum_protocol_version: "used",
    cipher_suites: "used",
    ecdh_curves: "used",
    signature_algorithms: "used",
  },
  "envoy.extensions.transport_sockets.tls.v3.Secret": {
    name: "used",
    tls_certificate: "used",
    session_ticket_keys: "used",
    validation_context: "used",
    generic_secret: "used",
  },
  "envoy.extensions.transport_sockets.tls.v3.GenericSecret": { secret: "used" },
  "envoy.extensions.transport_sockets.tls.v3.TlsSessionTicketKeys": { keys: "used" },
  "envoy.extensions.transport_sockets.tls.v3.TlsCertificate": {
    certificate_chain: "used",
    private_key: "used",
    password: "used",
    ocsp_staple: "used",
  },
  "envoy.extensions.transport_sockets.tls.v3.CertificateValidationContext": {
    trusted_ca: "used",
    system_root_certs: "used",
    verify_certificate_spki: "used",
    verify_certificate_hash: "used",
    match_typed_subject_alt_names: "used",
    crl: "used",
    trust_chain_verification: "used",
  },
  "envoy.extensions.transport_sockets.tls.v3.SubjectAltNameMatcher": { san_type: "used", matcher: "used" },
  "envoy.config.core.v3.DataSource": {
    filename: "used",
    inline_bytes: "used",
    inline_string: "used",
    environment_variable: "used",
    // Refused by whoever reads it.
    watched_directory: "used",
  },
};
