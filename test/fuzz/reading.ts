/** A request as one parser read it. Strings are latin1, a character a byte. */
export interface ReadRequest {
  method: string;
  /** The target as it was sent, or what the reader made of it. */
  target: string;
  /** Host and port that the request is for. */
  authority: string;
  /** Names in lower case, values without white space around them. */
  fields: [name: string, value: string][];
  body: string;
  /** Whether the end of the body was found. */
  complete: boolean;
  /** Whether it asks for an upgrade, as far as the reader tells. */
  upgrade?: boolean;
}

/** What a parser made of some bytes. */
export interface RequestReading {
  requests: ReadRequest[];
  /** Whether it refused to read on. */
  refused: boolean;
}

/** Authority and path that a target names, by its form (RFC 9112, 3.2); `host`: of the host field. */
export function targetParts(target: string, host: string): { authority: string; path: string } {
  const absolute = /^[a-z][a-z0-9+.-]*:\/\/([^/?]*)(.*)$/is.exec(target);
  if (absolute === null) return { authority: host, path: target };
  const [, authority = "", rest = ""] = absolute;
  return { authority, path: rest.startsWith("/") ? rest : `/${rest}` };
}
