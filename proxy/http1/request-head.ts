import { isAuthority, isHttp1At, TARGET, TOKEN } from "./chars.ts";
import { type FieldLimits, type HeadBytes, Message, parseFields } from "./fields.ts";
import { type Violation, violations } from "./violation.ts";

const SP = 0x20;
const CR = 0x0d;
const LF = 0x0a;
const SLASH = 0x2f;
const DOT = 0x2e;
const HASH = 0x23;

/** The longest request target, in bytes (RFC 9112, 3 recommends at least 8000). */
export const TARGET_BYTES_MAX = 8192;

/** The methods that Envoy takes without allow_custom_methods; they are case-sensitive (RFC 9110, 9.1). */
export const METHODS: ReadonlySet<string> = new Set(
  (
    "GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH PURGE " +
    "ACL BIND CHECKOUT COPY LINK LOCK MERGE MKACTIVITY MKCALENDAR MKCOL MOVE MSEARCH NOTIFY PROPFIND PROPPATCH " +
    "REBIND REPORT SEARCH SOURCE SUBSCRIBE UNBIND UNLINK UNLOCK UNSUBSCRIBE"
  ).split(" "),
);

/** The head of a request, checked. */
export class RequestMessage extends Message {
  method = "";
  /** Path and query; "*" of an OPTIONS request; "" of CONNECT. */
  path = "";
  /** Host and port as the message names them: of an absolute target, else of the host field. */
  authority = "";
  isPlain = true;
  isHttp10 = false;
  /** Whether the connection that it came on is TLS. */
  readonly isSecure: boolean;

  constructor(isSecure: boolean) {
    super(true);
    this.isSecure = isSecure;
  }

  get protocol(): "HTTP/1.0" | "HTTP/1.1" {
    return this.isHttp10 ? "HTTP/1.0" : "HTTP/1.1";
  }
}

export interface RequestLimits extends FieldLimits {
  readonly acceptHttp10: boolean;
}

/**
 * Reads the head of a request (RFC 9112, 3 to 6). Where the end of the head isn't in sight, there is some violation, which then says nothing
 * about the request.
 */
export function parseRequestHead(
  head: HeadBytes,
  limits: RequestLimits,
  isSecure: boolean,
): RequestMessage | Violation {
  const message = new RequestMessage(isSecure);
  const { bytes, from: begin, to } = head;
  let i = begin;
  while (i < to && TOKEN[bytes[i] as number] !== 0) i++;
  if (i === begin || i === to || bytes[i] !== SP) return violations.startLine;
  message.method = methodAt(bytes, begin, i);
  if (!METHODS.has(message.method)) return violations.method;
  const from = ++i;
  let kind = 0;
  while (i < to && (kind = TARGET[bytes[i] as number] as number) !== 0) {
    if (kind === 2 && !(bytes[i] === SLASH && bytes[i + 1] !== SLASH && bytes[i + 1] !== DOT)) message.isPlain = false;
    i++;
  }
  if (i - from > TARGET_BYTES_MAX) return violations.uriTooLong;
  if (bytes[i] === HASH) return violations.fragment;
  if (i === from || i + 10 >= to || bytes[i] !== SP) return violations.target;
  const end = i;
  if (!isHttp1At(bytes, end + 1) || bytes[end + 9] !== CR || bytes[end + 10] !== LF) return violations.version;
  const minor = bytes[end + 8];
  if (minor === 0x30) {
    if (!limits.acceptHttp10) return violations.lowVersion;
    message.isHttp10 = true;
  } else if (minor !== 0x31) {
    return violations.version;
  }
  const text = parseFields(head, end + 11, message, limits);
  if (typeof text !== "string") return text;
  return checkFraming(message) ?? applyTarget(message, text.slice(from - begin, end - begin)) ?? message;
}

/** The method at its place; those of nearly all requests need no new string. */
function methodAt(bytes: Buffer, from: number, to: number): string {
  if (to - from === 3 && bytes[from] === 0x47 && bytes[from + 1] === 0x45 && bytes[from + 2] === 0x54) return "GET";
  return bytes.toString("latin1", from, to);
}

function checkFraming(message: RequestMessage): Violation | undefined {
  // A 1.0 recipient doesn't know transfer codings (RFC 9112, 6.1).
  if (message.isHttp10 && message.chunked) return violations.transferEncodingOnHttp10;
  if (message.isHttp10) {
    // RFC 9110, 7.8: "MUST ignore"; a 1.0 client knows no 101.
    message.upgrade = "";
    message.connectionUpgrade = false;
  }
  const { upgrade } = message;
  // RFC 9113 dropped h2c; passed on, it would open a tunnel around the gateway's rules.
  if (upgrade !== "" && upgrade.toLowerCase().includes("h2c")) {
    const others = upgrade.split(",").filter((protocol) => protocol.trim().toLowerCase() !== "h2c");
    message.upgrade = others.join(",").trim();
    if (message.upgrade === "") message.connectionUpgrade = false;
  }
  return undefined;
}

/** Decides authority and path by the form of the target (RFC 9112, 3.2 and 3.3). */
function applyTarget(message: RequestMessage, target: string): Violation | undefined {
  const { host } = message;
  // Even where HTTP/1.0 needs no field, a gateway and those behind it need a host.
  const hasHost = host !== undefined || (message.isHttp10 && !target.startsWith("/") && target !== "*");
  if (!hasHost) return violations.missingHost;
  if (host !== undefined && !isAuthority(host)) return violations.host;
  message.authority = host ?? "";
  if (message.method === "CONNECT") {
    // RFC 9112, 3.2.3: where to connect to is said by the target.
    message.authority = target;
    return isAuthority(target) ? undefined : violations.target;
  }
  if (target.charCodeAt(0) === SLASH) {
    message.path = target;
    return undefined;
  }
  if (target === "*" && message.method === "OPTIONS") {
    message.path = target;
    return undefined;
  }
  return applyAbsoluteForm(message, target);
}

/**
 * What Envoy, too, takes as the authority of an absolute target: RFC 3986 also has empty ports, by which "http://a://b/" would be one, and
 * "_!$&'()*+,;=%~" in names.
 */
const PLAIN_AUTHORITY = /^([\da-z.-]+|\[[\da-f:.]+\])(:\d+)?$/i;

/** RFC 9112, 3.2.2: the target's authority counts and replaces whatever the host field says. */
function applyAbsoluteForm(message: RequestMessage, target: string): Violation | undefined {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(target);
  if (scheme === null) return violations.target;
  const name = (scheme[1] as string).toLowerCase();
  if (name === "https") {
    // Envoy refuses to take a request for a secure resource over a connection that isn't.
    if (!message.isSecure) return violations.httpsOnPlaintext;
  } else if (name !== "http") {
    return violations.scheme;
  }
  const rest = target.slice(scheme[0].length);
  const end = rest.search(/[/?]/);
  const authority = end < 0 ? rest : rest.slice(0, end);
  if (!isAuthority(authority) || !PLAIN_AUTHORITY.test(authority)) return violations.host;
  message.authority = authority;
  const path = end < 0 ? "/" : rest.slice(end);
  message.path = path.startsWith("/") ? path : `/${path}`;
  return undefined;
}
