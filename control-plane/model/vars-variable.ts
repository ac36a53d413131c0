import { type Parsed, quoted } from "./problem.ts";

/** What a condition looks at. Header names are in lower case. */
export type Variable =
  | { readonly kind: "header" | "query" | "cookie"; readonly name: string }
  | { readonly kind: "uri" | "host" | "method" };

/**
 * Of variables that data planes find inside a longer text, the characters that end the value there: a query's "&", a
 * cookie's ";", the "?" after a path.
 */
export const outside = { query: "&#", cookie: ";", uri: "?#" } as const;

/**
 * RFC 9110, 5.6.2 in lower case, without "_": requests lose headers with underscores, which would be confused with
 * dashes.
 */
const HEADER_NAME = /^[a-z0-9!#$%&'*+.^`|~-]+$/;

/** RFC 6265, 4.1.1: a cookie's name is a token. */
const COOKIE_NAME = /^[A-Za-z0-9!#$%&'*+.^_`|~-]+$/;

/** The key of a query parameter as it stands in the URL, percent-encoded where it must be. */
const QUERY_KEY = /^[A-Za-z0-9\-._~!$'()*+,;:@%/?[\]]+$/;

/** A name with each further character costs nesting in the patterns that find it (translate/pairs.ts). */
const NAME_LENGTH_MAX = 128;

const known = "http_NAME, arg_NAME, cookie_NAME, uri, host and request_method";

/** Reads the name of a variable, nginx's words. */
export function parseVariable(text: string | undefined): Parsed<Variable> {
  if (text === undefined) return refuse(`must be the name of a variable: ${known}`);
  if (text.length > NAME_LENGTH_MAX) return refuse(`${quoted(text)} is longer than ${NAME_LENGTH_MAX} characters`);
  if (text === "uri" || text === "host") return { ok: true, value: { kind: text } };
  if (text === "request_method") return { ok: true, value: { kind: "method" } };
  const [, source, name = ""] = /^(http|arg|cookie)_(.+)$/s.exec(text) ?? [];
  switch (source) {
    case "http": {
      // nginx's word for a header: lower case, "_" for "-".
      const header = name.toLowerCase().replaceAll("_", "-");
      if (!HEADER_NAME.test(header)) return refuse(`${quoted(text)}: ${quoted(header)} is not the name of a header`);
      // Envoy knows Host by HTTP/2's name; a pseudo-header can't be written here since ":" is not allowed in names.
      return { ok: true, value: { kind: "header", name: header === "host" ? ":authority" : header } };
    }
    case "arg":
      if (!QUERY_KEY.test(name))
        return refuse(`${quoted(text)}: write the parameter as it stands in the URL, percent-encoded`);
      return { ok: true, value: { kind: "query", name } };
    case "cookie":
      if (!COOKIE_NAME.test(name)) return refuse(`${quoted(text)}: ${quoted(name)} is not the name of a cookie`);
      return { ok: true, value: { kind: "cookie", name } };
    default:
      return refuse(unknownVariable(text));
  }
}

function unknownVariable(text: string): string {
  if (/^post_arg[_.]/.test(text)) return `${quoted(text)}: routes can't look at the body; use ${known}`;
  if (text === "remote_addr") return `${quoted(text)} is not supported in routes; use ${known}`;
  return `${quoted(text)} is not a variable; there are ${known}`;
}

const refuse = (message: string): Parsed<Variable> => ({
  ok: false,
  problems: [{ field: "", reason: "invalid_vars", message }],
});
