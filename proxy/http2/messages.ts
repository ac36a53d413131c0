/** What a head is the head of, or that it is none. */
export type FieldsOf = "request" | "response" | "trailers";

const CONTENT_LENGTH = /^\d{1,15}$/;
const STATUS = /^[1-9]\d\d$/;
const SCHEME = /^[A-Za-z][A-Za-z\d+.-]*$/;
/** RFC 3986, 3.2, without user information (RFC 9113, 8.3.1); whether it names a host is for the reader of the request to see. */
const AUTHORITY = /^[-._~!$&'()*+,;=%:[\]\dA-Za-z]*$/;
const PATH = /^[\x21-\x7e\x80-\xff]+$/;

const METHOD_BIT = 1;
const SCHEME_BIT = 2;
const PATH_BIT = 4;
const AUTHORITY_BIT = 8;
const PROTOCOL_BIT = 16;
const STATUS_BIT = 32;

/**
 * Checks heads and trailers by RFC 9113, 8.2.2 and 8.3, so that nobody behind has to look again. That names and values are some (8.2.1) was seen to when they were
 * decoded. One serves all; what it found holds until the next check.
 */
export class MessageCheck {
  /** Of the content-length field; -1: none. */
  contentLength = -1;
  /** Of a response. */
  status = 0;
  /** Whether what was refused is a field; otherwise all are some, and together no message. */
  isFieldBroken = false;

  /** Whether names and values (in turn) are as they must be. `connectProtocol`: extended CONNECT may be used. */
  accepts(fields: readonly string[], kind: FieldsOf, connectProtocol: boolean): boolean {
    this.contentLength = -1;
    this.status = 0;
    this.isFieldBroken = true;
    let seen = 0;
    let inPseudo = true;
    let isConnect = false;
    let hasHost = false;
    for (let i = 0; i < fields.length; i += 2) {
      const name = fields[i] as string;
      const value = fields[i + 1] as string;
      if (name.charCodeAt(0) === 0x3a) {
        if (!inPseudo || kind === "trailers") return false;
        const bit = this.#pseudo(name, value, kind);
        if (bit === 0 || (seen & bit) !== 0) return false;
        seen |= bit;
        if (bit === METHOD_BIT) isConnect = value === "CONNECT";
        continue;
      }
      inPseudo = false;
      if (name === "host" && kind === "request") {
        // As in HTTP/1 (RFC 9112, 3.2) there is one.
        if (hasHost || (value !== "" && !AUTHORITY.test(value))) return false;
        hasHost = true;
      } else if (!this.#field(name, value, kind)) return false;
    }
    this.isFieldBroken = false;
    if (kind === "trailers") return true;
    if (kind === "response") return (seen & STATUS_BIT) !== 0;
    // RFC 9110, 9.3.6: a CONNECT has no content; behind a length an HTTP/1 endpoint would take what comes in the tunnel, or the next request, for it.
    if (isConnect && this.contentLength >= 0) return false;
    return isWholeRequest(seen, isConnect, hasHost, connectProtocol);
  }

  /** A pseudo-header's bit; 0: there is no such one, or its value is none. */
  #pseudo(name: string, value: string, kind: FieldsOf): number {
    if (kind === "response") {
      if (name !== ":status" || !STATUS.test(value)) return 0;
      this.status = Number(value);
      return STATUS_BIT;
    }
    switch (name) {
      case ":method":
        return isToken(value) ? METHOD_BIT : 0;
      case ":path":
        return PATH.test(value) ? PATH_BIT : 0;
      case ":authority":
        return AUTHORITY.test(value) ? AUTHORITY_BIT : 0;
      case ":scheme":
        return SCHEME.test(value) ? SCHEME_BIT : 0;
      case ":protocol":
        return PROTOCOL_BIT;
      default:
        return 0;
    }
  }

  #field(name: string, value: string, kind: FieldsOf): boolean {
    switch (name) {
      case "content-length":
        if (kind === "trailers") return true;
        if (this.contentLength >= 0 || !CONTENT_LENGTH.test(value)) return false;
        this.contentLength = Number(value);
        return true;
      // RFC 9113, 8.2.2.
      case "connection":
      case "keep-alive":
      case "proxy-connection":
      case "transfer-encoding":
      case "upgrade":
        return false;
      case "te":
        return value.toLowerCase() === "trailers";
      default:
        return true;
    }
  }
}

/** RFC 9113, 8.3.1 and 8.5; RFC 8441, 4. */
function isWholeRequest(seen: number, isConnect: boolean, hasHost: boolean, connectProtocol: boolean): boolean {
  const isExtended = (seen & PROTOCOL_BIT) !== 0;
  if (isExtended && !(isConnect && connectProtocol)) return false;
  if (isConnect && !isExtended) return seen === (METHOD_BIT | AUTHORITY_BIT);
  const needed = METHOD_BIT | SCHEME_BIT | PATH_BIT;
  return (seen & needed) === needed && ((seen & AUTHORITY_BIT) !== 0 || hasHost);
}

/** RFC 9110, 5.6.2. */
const TOKEN = /^[!#$%&'*+\-.^_`|~\dA-Za-z]+$/;
const isToken = (text: string): boolean => TOKEN.test(text);
