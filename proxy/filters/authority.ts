/** The host options of HttpConnectionManager. */
export interface AuthorityOptions {
  readonly stripMatchingHostPort: boolean;
  readonly stripAnyHostPort: boolean;
  readonly stripTrailingHostDot: boolean;
}

/** The authority as it is to be routed and forwarded. `localPort`: the one the listener listens on. */
export function normalizeAuthority(authority: string, localPort: number, options: AuthorityOptions): string {
  const { stripAnyHostPort, stripMatchingHostPort, stripTrailingHostDot } = options;
  if (!stripAnyHostPort && !stripMatchingHostPort && !stripTrailingHostDot) return authority;
  const colon = authority.lastIndexOf(":");
  const hasPort = colon > authority.lastIndexOf("]");
  let host = hasPort ? authority.slice(0, colon) : authority;
  let port = hasPort ? authority.slice(colon) : "";
  if (stripTrailingHostDot && host.endsWith(".")) host = host.slice(0, -1);
  if (stripAnyHostPort || (stripMatchingHostPort && port === `:${localPort}`)) port = "";
  return host + port;
}
