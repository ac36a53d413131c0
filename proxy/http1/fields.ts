import { Headers } from "../headers.ts";
import { isToken, TOKEN, VALUE } from "./chars.ts";
import { type Violation, violations } from "./violation.ts";

const COLON = 0x3a;
const CR = 0x0d;
const LF = 0x0a;
const SP = 0x20;
const HTAB = 0x09;

/** How many digits a content-length may have: what a double counts exactly. */
const CONTENT_LENGTH_DIGITS_MAX = 15;

/**
 * The fields of a message, and what they say about its framing and its connection. `headers` holds what goes on to the other side:
 * the fields that concern this connection only (RFC 9110, 7.6.1) and `host` of a request are read here and left out.
 */
export class Message {
  readonly headers: Headers = new Headers();
  readonly isRequest: boolean;
  /** Of the content-length field; -1: none. */
  contentLength = -1;
  chunked = false;
  /** Whether `connection` says so. */
  close = false;
  keepAlive = false;
  connectionUpgrade = false;
  /** Value of the upgrade field, "" if none. */
  upgrade = "";
  /** Of a request; undefined: none. */
  host: string | undefined = undefined;
  /** A request that waits for 100 before it sends its body. */
  expectContinue = false;
  /** Fields that `connection` names, besides those that are dropped anyway. */
  connectionNames: string[] | undefined = undefined;

  constructor(isRequest: boolean) {
    this.isRequest = isRequest;
  }
}

/** How many fields a head may have, and what becomes of names with "_" in them (Envoy's headers_with_underscores_action). */
export interface FieldLimits {
  readonly maxHeadersCount: number;
  readonly headersWithUnderscores: "allow" | "reject" | "drop";
}

/**
 * Reads the field lines of `text` (latin1, each line ended by CRLF, without the empty line) from `at` on into `message`.
 * One pass; every byte is checked against RFC 9112, 5: no obs-fold, no space before the colon, no bare CR or LF, no controls.
 */
export function parseFields(text: string, at: number, message: Message, limits: FieldLimits): Violation | undefined {
  const { headers } = message;
  const end = text.length;
  let count = 0;
  while (at < end) {
    if (++count > limits.maxHeadersCount) return violations.tooManyFields;
    let i = at;
    let kinds = 0;
    let kind: number | undefined;
    while ((kind = TOKEN[text.charCodeAt(i)])) {
      kinds |= kind;
      i++;
    }
    if (i === at || text.charCodeAt(i) !== COLON) return violations.fieldName;
    let name = text.slice(at, i);
    if (kinds > 1) name = name.toLowerCase();
    i++;
    let byte = text.charCodeAt(i);
    while (byte === SP || byte === HTAB) byte = text.charCodeAt(++i);
    const from = i;
    while (VALUE[byte] === 1) byte = text.charCodeAt(++i);
    if (byte !== CR) return byte === LF ? violations.lineEnd : violations.fieldValue;
    if (text.charCodeAt(i + 1) !== LF) return violations.lineEnd;
    at = i + 2;
    while (i > from && ((byte = text.charCodeAt(i - 1)) === SP || byte === HTAB)) i--;
    const value = text.slice(from, i);
    const verdict = interpret(message, name, value);
    if (verdict === KEEP) {
      if (limits.headersWithUnderscores !== "allow" && name.includes("_")) {
        if (limits.headersWithUnderscores === "reject") return violations.underscore;
        continue;
      }
      headers.names.push(name);
      headers.values.push(value);
    } else if (verdict !== DROP) {
      return verdict;
    }
  }
  if (message.chunked && message.contentLength >= 0) return violations.bothFramings;
  if (message.connectionNames !== undefined) removeNamed(headers, message.connectionNames);
  return undefined;
}

const KEEP = 1;
const DROP = 0;

/** Reads what a field says about framing and connection. The length of the name picks the few that can matter. */
function interpret(message: Message, name: string, value: string): typeof KEEP | typeof DROP | Violation {
  switch (name.length) {
    case 2:
      // Envoy passes "trailers" on, since gRPC servers insist on it, and nothing else.
      if (name !== "te") return KEEP;
      if (tokensOf(value).includes("trailers")) message.headers.set("te", "trailers");
      return DROP;
    case 4:
      if (name !== "host" || !message.isRequest) return KEEP;
      if (message.host !== undefined) return violations.twoHosts;
      message.host = value;
      return DROP;
    case 6:
      if (name !== "expect") return interpretOther(message, name, value);
      if (!message.isRequest || value.toLowerCase() !== "100-continue") return KEEP;
      message.expectContinue = true;
      return DROP;
    case 7:
      // Trailers are not forwarded, so their announcement isn't.
      if (name === "trailer") return DROP;
      if (name !== "upgrade") return interpretOther(message, name, value);
      message.upgrade = message.upgrade === "" ? value : `${message.upgrade},${value}`;
      return DROP;
    case 10:
      if (name === "keep-alive") return DROP;
      return name === "connection" ? interpretConnection(message, value) : interpretOther(message, name, value);
    case 14:
      if (name === "http2-settings") return DROP;
      return name === "content-length" ? interpretContentLength(message, value) : interpretOther(message, name, value);
    case 17:
      if (name !== "transfer-encoding") return interpretOther(message, name, value);
      if (message.chunked || value.toLowerCase() !== "chunked") return violations.transferEncoding;
      message.chunked = true;
      return DROP;
    default:
      return interpretOther(message, name, value);
  }
}

/** What begins with "proxy-" is for the next proxy, which is us. */
function interpretOther(message: Message, name: string, value: string): typeof KEEP | typeof DROP {
  if (!name.startsWith("proxy-")) return KEEP;
  // Never standardised, but Envoy and others heed it (RFC 9112, C.2.2), and to close is always safe.
  if (name === "proxy-connection" && tokensOf(value).includes("close")) message.close = true;
  return DROP;
}

function interpretContentLength(message: Message, value: string): typeof KEEP | Violation {
  // Even two equal ones: another parser may take the first, the last, or both as a list.
  if (message.contentLength >= 0) return violations.twoContentLengths;
  if (value.length === 0 || value.length > CONTENT_LENGTH_DIGITS_MAX) return violations.contentLength;
  let length = 0;
  for (let i = 0; i < value.length; i++) {
    const digit = value.charCodeAt(i) - 0x30;
    if (digit < 0 || digit > 9) return violations.contentLength;
    length = length * 10 + digit;
  }
  message.contentLength = length;
  return KEEP;
}

function interpretConnection(message: Message, value: string): typeof DROP | Violation {
  // What nearly all messages say needs no list.
  if (value === "keep-alive" || value === "Keep-Alive") {
    message.keepAlive = true;
    return DROP;
  }
  for (const option of tokensOf(value)) {
    if (option === "close") message.close = true;
    else if (option === "keep-alive") message.keepAlive = true;
    else if (option === "upgrade") message.connectionUpgrade = true;
    else if (option === "") continue;
    else if (!isToken(option) || notConnectionsOwn.has(option)) return violations.connection;
    else (message.connectionNames ??= []).push(option);
  }
  return DROP;
}

/** What says where a request goes and came from can't be for one connection only; as Envoy, we refuse a peer that says so. */
const notConnectionsOwn: ReadonlySet<string> = new Set([
  "host",
  "x-forwarded-for",
  "x-forwarded-host",
  "x-forwarded-proto",
]);

const tokensOf = (value: string): string[] =>
  value
    .toLowerCase()
    .split(",")
    .map((part) => part.trim());

/**
 * A peer may name its own connection's fields, but not take away what others put there about it or what frames the message.
 */
const isProtected = (name: string): boolean =>
  name === "content-length" ||
  name === "te" ||
  name === "authorization" ||
  name === "cookie" ||
  name === "forwarded" ||
  name === "via" ||
  name === "x-real-ip" ||
  name === "x-request-id" ||
  name.startsWith("x-forwarded-");

function removeNamed(headers: Headers, names: readonly string[]): void {
  for (const name of new Set(names)) if (!isProtected(name)) headers.remove(name);
}
