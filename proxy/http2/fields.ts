import type { OutgoingHttpHeaders } from "node:http2";

import { Headers } from "../headers.ts";

/** The head of a response as node:http2 takes it: names and values in turn. What is in it was checked when it was read, or is ours. */
export function responseFields(status: number, { names, values }: Headers): string[] {
  const fields = [":status", String(status)];
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    if (!isConnectionSpecific(name)) fields.push(name, values[i] as string);
  }
  return fields;
}

/** Trailers, or a 1xx response's fields, as node:http2 takes them. */
export function fieldObject({ names, values }: Headers): OutgoingHttpHeaders {
  // Without a prototype: a peer may name a field "__proto__".
  const fields = Object.create(null) as Record<string, string | string[]>;
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    const value = values[i] as string;
    if (isConnectionSpecific(name)) continue;
    const before = fields[name];
    if (before === undefined) fields[name] = value;
    else fields[name] = [before, value].flat();
  }
  return fields;
}

/** Trailers of a request, from node:http2's list of names and values in turn. nghttp2 has refused those with pseudo-headers. */
export function readTrailers(fields: readonly string[]): Headers {
  const headers = new Headers();
  for (let i = 0; i < fields.length; i += 2) headers.add(fields[i] as string, fields[i + 1] as string);
  return headers;
}

/** RFC 9113, 8.2.2: a message with one of these is malformed. The HTTP/1 codec has removed what came; filters and mutations may add some. */
const isConnectionSpecific = (name: string): boolean =>
  name === "connection" ||
  name === "keep-alive" ||
  name === "proxy-connection" ||
  name === "transfer-encoding" ||
  name === "upgrade" ||
  name.charCodeAt(0) === 0x3a;
