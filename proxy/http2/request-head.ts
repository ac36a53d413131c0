import { randomBytes } from "node:crypto";

import type { IncomingRequest } from "../filters/downstream.ts";
import { Headers } from "../headers.ts";
import { isAuthority, isToken, TARGET } from "../http1/chars.ts";
import type { FieldLimits } from "../http1/fields.ts";
import { METHODS, TARGET_BYTES_MAX } from "../http1/request-head.ts";
import { type Violation, violations as common } from "../http1/violation.ts";
import { violations } from "./violation.ts";

const COLON = 0x3a;
const WEBSOCKET_KEY_BYTES = 16;

/** The head of a request, checked. */
export class Http2Request implements IncomingRequest {
  readonly protocol = "HTTP/2";
  readonly headers: Headers = new Headers();
  method = "";
  path = "";
  authority = "";
  contentLength = -1;
  connectionUpgrade = false;
  upgrade = "";
  /** A request that waits for 100 before it sends its body. */
  expectContinue = false;
  /** Fields that were left out for an underscore in their name. */
  droppedFields = 0;

  /** HTTP/2 frames by itself; towards HTTP/1 a body without a length goes in chunks. */
  get chunked(): boolean {
    return this.contentLength < 0;
  }
}

/**
 * Reads the head of a request, names and values in turn, which are as RFC 9113, 8.2 and 8.3 want them (messages.ts). What is checked here is what
 * HTTP/1 checks besides, so that no request is fine by one protocol and refused by the other.
 */
export function readRequestHead(fields: readonly string[], limits: FieldLimits): Http2Request | Violation {
  const request = new Http2Request();
  const { headers } = request;
  let scheme = "";
  let protocol = "";
  let host: string | undefined;
  let cookie = -1;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1] as string;
    if (name.charCodeAt(0) === COLON) {
      if (name === ":method") request.method = value;
      else if (name === ":path") request.path = value;
      else if (name === ":authority") request.authority = value;
      else if (name === ":scheme") scheme = value;
      else if (name === ":protocol") protocol = value;
      continue;
    }
    switch (name) {
      case "host":
        host = value;
        continue;
      case "cookie":
        // RFC 9113, 8.2.3: pieces of one field, to be joined before anybody else sees them.
        if (cookie < 0) cookie = headers.length;
        else {
          headers.setAt(cookie, `${headers.values[cookie]}; ${value}`);
          continue;
        }
        break;
      case "content-length":
        request.contentLength = Number(value);
        break;
      case "expect":
        if (value.toLowerCase() !== "100-continue") break;
        request.expectContinue = true;
        continue;
      // As from HTTP/1, these are for us.
      case "trailer":
      case "keep-alive":
      case "http2-settings":
        continue;
      default:
        if (name.startsWith("proxy-")) continue;
        if (limits.headersWithUnderscores !== "allow" && name.includes("_")) {
          if (limits.headersWithUnderscores === "reject") return violations.underscore;
          request.droppedFields++;
          continue;
        }
    }
    headers.add(name, value);
  }
  return (
    applyAuthority(request, host) ??
    (request.method === "CONNECT" && protocol === "" ? undefined : applyTarget(request, scheme, protocol)) ??
    request
  );
}

function applyAuthority(request: Http2Request, host: string | undefined): Violation | undefined {
  if (!METHODS.has(request.method)) return violations.method;
  if (request.authority === "") request.authority = host ?? "";
  else if (host !== undefined && host.toLowerCase() !== request.authority.toLowerCase()) return violations.twoHosts;
  if (request.authority === "") return common.missingHost;
  return isAuthority(request.authority) ? undefined : violations.authority;
}

function applyTarget(request: Http2Request, scheme: string, protocol: string): Violation | undefined {
  const { path, method } = request;
  if (scheme !== "http" && scheme !== "https") return violations.scheme;
  if (path.length > TARGET_BYTES_MAX) return violations.pathTooLong;
  if (!path.startsWith("/") && !(path === "*" && method === "OPTIONS")) return violations.path;
  for (let i = 0; i < path.length; i++) {
    const byte = path.charCodeAt(i);
    // What is behind "#" never leaves a client; and the table ends at a byte's values.
    if (!TARGET[byte]) return byte === 0x23 ? common.fragment : violations.path;
  }
  if (protocol === "") return undefined;
  if (!isToken(protocol)) return violations.protocol;
  // RFC 8441, 4: the GET of the HTTP/1 handshake, in other words.
  request.method = "GET";
  request.connectionUpgrade = true;
  request.upgrade = protocol;
  // RFC 8441, 5: not used over HTTP/2, but an HTTP/1.1 server insists on it (RFC 6455, 4.2.1).
  if (protocol === "websocket" && !request.headers.has("sec-websocket-key")) {
    request.headers.add("sec-websocket-key", randomBytes(WEBSOCKET_KEY_BYTES).toString("base64"));
  }
  return undefined;
}
