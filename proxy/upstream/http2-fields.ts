import type { OutgoingHttpHeaders } from "node:http2";

import type { Headers } from "../headers.ts";
import { ResponseMessage } from "../http1/response-head.ts";

/** Envoy's defaults for responses. */
export const RESPONSE_HEAD_BYTES_MAX = 60 * 1024;
export const RESPONSE_FIELDS_MAX = 100;

/** A request's head as HTTP/2 has it. */
export interface Http2RequestHead {
  readonly method: string;
  readonly scheme: string;
  readonly authority: string;
  readonly path: string;
  readonly headers: Headers;
  /** Asked for by extended CONNECT (RFC 8441); "": none. */
  readonly upgrade: string;
}

/** A request's fields as node:http2 takes them, names and values in turn. */
export function fieldsOf({ method, scheme, authority, path, headers, upgrade }: Http2RequestHead): string[] {
  const fields = [":method", upgrade === "" ? method : "CONNECT"];
  if (upgrade !== "") fields.push(":protocol", upgrade);
  fields.push(":scheme", scheme, ":path", path, ":authority", authority);
  const { names, values } = headers;
  for (let i = 0; i < names.length; i++) fields.push(names[i] as string, values[i] as string);
  return fields;
}

/** Fields that are about one connection, which HTTP/2 doesn't have, or that the next one frames anew (RFC 9113, 8.2.2). */
const dropped: ReadonlySet<string> = new Set([
  "connection",
  "keep-alive",
  "proxy-authenticate",
  "proxy-connection",
  "te",
  "trailer",
  "transfer-encoding",
  "upgrade",
]);

/** The head of a response. nghttp2 has checked names and values; undefined: there is more wrong with it. */
export function parseHead(raw: readonly string[]): ResponseMessage | undefined {
  const message = new ResponseMessage();
  const status = addFields(message.headers, raw);
  if (status === undefined || !/^[1-5][0-9]{2}$/.test(status)) return undefined;
  message.status = Number(status);
  const length = message.headers.get("content-length");
  if (length !== undefined) {
    if (!/^[0-9]{1,15}$/.test(length)) return undefined;
    message.contentLength = Number(length);
  }
  return message;
}

/** Adds the fields; returns the status ("" if there is none), or undefined: there are too many, or other pseudo-fields. */
export function addFields(headers: Headers, raw: readonly string[]): string | undefined {
  if (raw.length > 2 * (RESPONSE_FIELDS_MAX + 1)) return undefined;
  let status = "";
  for (let i = 0; i < raw.length; i += 2) {
    const name = raw[i] as string;
    if (name === ":status") status = raw[i + 1] as string;
    else if (name.startsWith(":")) return undefined;
    else if (!dropped.has(name)) headers.add(name, raw[i + 1] as string);
  }
  return status;
}

/** Trailers as node:http2 takes them. */
export function objectOf(headers: Headers | undefined): OutgoingHttpHeaders {
  const fields: OutgoingHttpHeaders = {};
  const { names = [], values = [] } = headers ?? {};
  names.forEach((name, i) => {
    const before = fields[name];
    const value = values[i] as string;
    fields[name] = before === undefined ? value : [...(Array.isArray(before) ? before : [String(before)]), value];
  });
  return fields;
}
