import { Headers } from "../headers.ts";
import { isToken, isValueByte, TOKEN } from "./chars.ts";
import { type Violation, violations } from "./violation.ts";

const COLON = 0x3a;
const CR = 0x0d;
const LF = 0x0a;
const SP = 0x20;
const HTAB = 0x09;

/** Options that a client's connection fields may have in all, as with Envoy: each is looked for among the fields. */
const CONNECTION_OPTIONS_MAX = 9;
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
  /** Where the body begins, in the input of which this was read. */
  bodyAt = 0;
  /** Fields that were left out for an underscore in their name. */
  droppedFields = 0;
  /** Options that `connection` has had so far. */
  connectionOptions = 0;
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

/** A message's head in the input: it begins at `from`, and its empty line is before `to` if it is whole. */
export interface HeadBytes {
  readonly bytes: Buffer;
  readonly from: number;
  readonly to: number;
}

/**
 * Where the field lines of the head that is being read are: begin, end of the name, value's begin and end, begin of the next line; -1 in place
 * of the begin where the line as it came is not as we write it. Filled and used up within one call.
 */
const spans: number[] = [];
const SPAN = 5;

/** What scanFields() found besides the spans: their number, and where the body begins. */
let scanned = 0;
let bodyAt = 0;

/**
 * Finds the field lines from `at` on, up to the empty line. One pass; every byte is checked against RFC 9112, 5: no obs-fold, no space before
 * the colon, no bare CR or LF, no controls. Upper-case letters of names become lower case where they are, so that a line which came as we
 * write it needn't be put together anew.
 */
function scanFields({ bytes, to }: HeadBytes, at: number, maxHeadersCount: number): Violation | undefined {
  let i = at;
  scanned = 0;
  for (let n = 0; ; n += SPAN) {
    const begin = i;
    if (i + 1 >= to) return violations.lineEnd;
    if (bytes[i] === CR && bytes[i + 1] === LF) {
      bodyAt = i + 2;
      return undefined;
    }
    if (scanned === maxHeadersCount) return violations.tooManyFields;
    let kind = 0;
    while (i < to && (kind = TOKEN[bytes[i] as number] as number) !== 0) {
      if (kind === 2) bytes[i] = (bytes[i] as number) | 0x20;
      i++;
    }
    if (i === begin || i === to || bytes[i] !== COLON) return violations.fieldName;
    const nameEnd = i++;
    while (i < to && (bytes[i] === SP || bytes[i] === HTAB)) i++;
    const from = i;
    while (i < to && isValueByte(bytes[i] as number)) i++;
    if (i + 1 >= to || bytes[i] !== CR) return bytes[i] === LF ? violations.lineEnd : violations.fieldValue;
    if (bytes[i + 1] !== LF) return violations.lineEnd;
    let end = i;
    i += 2;
    while (end > from && (bytes[end - 1] === SP || bytes[end - 1] === HTAB)) end--;
    const isCanonical = from === nameEnd + 2 && bytes[nameEnd + 1] === SP && end === i - 2;
    spans[n] = isCanonical ? begin : -1;
    spans[n + 1] = nameEnd;
    spans[n + 2] = from;
    spans[n + 3] = end;
    spans[n + 4] = i;
    scanned++;
  }
}

/**
 * Reads the field lines of `head` from `at` on into `message`, and where the body begins into `message.bodyAt`. Returns the head as latin1, names
 * in lower case; its first character is the one at `head.from`.
 */
export function parseFields(head: HeadBytes, at: number, message: Message, limits: FieldLimits): string | Violation {
  const { headers } = message;
  const { bytes, from: base } = head;
  const broken = scanFields(head, at, limits.maxHeadersCount);
  const count = scanned;
  message.bodyAt = bodyAt;
  // Where a line is broken, those before it have their say first.
  const text = bytes.toString("latin1", base, count === 0 ? at : (spans[count * SPAN - 1] as number));
  let begin = at - base;
  for (let n = 0; n < count * SPAN; n += SPAN) {
    const next = (spans[n + 4] as number) - base;
    const nameEnd = spans[n + 1] as number;
    const name = isContentLength(bytes, begin + base, nameEnd) ? "content-length" : text.slice(begin, nameEnd - base);
    const value = text.slice((spans[n + 2] as number) - base, (spans[n + 3] as number) - base);
    const verdict = interpret(message, name, value);
    if (verdict === KEEP) {
      if (limits.headersWithUnderscores === "allow" || !name.includes("_")) {
        headers.add(name, value, spans[n] === -1 ? "" : text.slice(begin, next));
      } else if (limits.headersWithUnderscores === "reject") {
        return violations.underscore;
      } else message.droppedFields++;
    } else if (verdict !== DROP) {
      return verdict;
    }
    begin = next;
  }
  if (broken !== undefined) return broken;
  if (message.chunked && message.contentLength >= 0) return violations.bothFramings;
  if (message.connectionNames !== undefined) removeNamed(headers, message.connectionNames);
  return text;
}

/** Whether the name is this one, as in nearly all messages that have a body; the rest then compares pointers rather than characters. */
function isContentLength(bytes: Buffer, at: number, end: number): boolean {
  if (end - at !== CONTENT_LENGTH.length || bytes[at + 8] !== CONTENT_LENGTH[8]) return false;
  for (let i = 0; i < CONTENT_LENGTH.length; i++) if (bytes[at + i] !== CONTENT_LENGTH[i]) return false;
  return true;
}

const CONTENT_LENGTH = Buffer.from("content-length", "latin1");

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
    return ++message.connectionOptions > CONNECTION_OPTIONS_MAX && message.isRequest ? violations.connection : DROP;
  }
  for (const option of tokensOf(value)) {
    if (option === "") continue;
    if (++message.connectionOptions > CONNECTION_OPTIONS_MAX && message.isRequest) return violations.connection;
    if (option === "close") message.close = true;
    else if (option === "keep-alive") message.keepAlive = true;
    else if (option === "upgrade") message.connectionUpgrade = true;
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

/** Goes by the fields that there are: a list of names can be much longer. */
function removeNamed(headers: Headers, names: readonly string[]): void {
  const named = new Set(names);
  for (const name of new Set(headers.names)) if (named.has(name) && !isProtected(name)) headers.remove(name);
}
