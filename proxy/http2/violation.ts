import { Violation } from "../http1/violation.ts";

/** Ways in which a request's head can be refused besides being malformed (messages.ts), which is answered by RST_STREAM(PROTOCOL_ERROR). */
export const violations = {
  method: new Violation(400, "http2.invalid_method"),
  path: new Violation(400, "http2.invalid_url"),
  pathTooLong: new Violation(414, "http2.uri_too_long"),
  scheme: new Violation(400, "http2.invalid_scheme"),
  authority: new Violation(400, "http2.invalid_authority"),
  /** :authority and host name different hosts. */
  twoHosts: new Violation(400, "http2.multiple_hosts"),
  underscore: new Violation(400, "http2.unexpected_underscore"),
  protocol: new Violation(400, "http2.invalid_protocol"),
} as const satisfies Record<string, Violation>;
