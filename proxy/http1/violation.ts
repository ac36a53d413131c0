/**
 * What makes a message unacceptable: the status that answers it when it is a request, and Envoy's RESPONSE_CODE_DETAILS.
 * A peer's mistake is a value, not an exception; parsers return it in place of a message.
 */
export class Violation {
  readonly status: number;
  readonly details: string;

  constructor(status: number, details: string) {
    this.status = status;
    this.details = details;
  }
}

/** Every way in which an HTTP/1 message can be refused. */
export const violations = {
  startLine: new Violation(400, "http1.invalid_start_line"),
  method: new Violation(400, "http1.invalid_method"),
  version: new Violation(400, "http1.invalid_version"),
  lowVersion: new Violation(426, "low_version"),
  target: new Violation(400, "http1.invalid_url"),
  /** What is behind "#" never leaves a client (RFC 9110, 4.2.5); Envoy answers as for a path that it can't normalise. */
  fragment: new Violation(400, "path_normalization_failed"),
  scheme: new Violation(400, "http1.invalid_scheme"),
  httpsOnPlaintext: new Violation(403, "http1.https_url_on_plaintext_connection"),
  uriTooLong: new Violation(414, "http1.uri_too_long"),
  fieldName: new Violation(400, "http1.invalid_header_name"),
  fieldValue: new Violation(400, "http1.invalid_header_value"),
  lineEnd: new Violation(400, "http1.invalid_line_ending"),
  headTooLarge: new Violation(431, "http1.headers_too_large"),
  tooManyFields: new Violation(431, "http1.too_many_headers"),
  contentLength: new Violation(400, "http1.invalid_content_length"),
  twoContentLengths: new Violation(400, "http1.multiple_content_lengths"),
  /** A coding that we don't know (RFC 9112, 6.1). */
  transferEncoding: new Violation(501, "http1.invalid_transfer_encoding"),
  /** A 1.0 peer doesn't know transfer codings. */
  transferEncodingOnHttp10: new Violation(400, "http1.invalid_transfer_encoding"),
  bothFramings: new Violation(400, "http1.content_length_and_chunked_not_allowed"),
  connection: new Violation(400, "http1.connection_header_rejected"),
  missingHost: new Violation(400, "missing_host_header"),
  host: new Violation(400, "http1.invalid_authority"),
  twoHosts: new Violation(400, "http1.multiple_hosts"),
  underscore: new Violation(400, "http1.unexpected_underscore"),
  chunk: new Violation(400, "http1.invalid_chunk"),
  chunkExtensions: new Violation(413, "http1.chunk_extensions_too_large"),
  trailers: new Violation(431, "http1.trailers_too_large"),
  informational: new Violation(400, "http1.too_many_1xx"),
  status: new Violation(400, "http1.invalid_status"),
  /** RFC 9110, 8.6 and RFC 9112, 6.1: a response of 1xx or 204 speaks of no content. */
  noContent: new Violation(400, "http1.content_not_allowed"),
  leftover: new Violation(400, "http1.unexpected_bytes"),
  truncated: new Violation(400, "http1.body_disconnected"),
} as const satisfies Record<string, Violation>;
