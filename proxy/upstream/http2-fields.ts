import type { Headers } from "../headers.ts";
import { ResponseMessage } from "../http1/response-head.ts";
import { addFields } from "../http2/fields.ts";

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

/** A request's fields, names and values in turn. */
export function fieldsOf({ method, scheme, authority, path, headers, upgrade }: Http2RequestHead): string[] {
  const fields = [":method", upgrade === "" ? method : "CONNECT"];
  if (upgrade !== "") fields.push(":protocol", upgrade);
  fields.push(":scheme", scheme, ":path", path, ":authority", authority);
  addFields(fields, headers);
  return fields;
}

/** Fields that are about one connection, or that the next one frames anew. Those that HTTP/2 doesn't have (RFC 9113, 8.2.2) were refused. */
const dropped: ReadonlySet<string> = new Set(["proxy-authenticate", "te", "trailer"]);

/** The head of a response, whose fields were checked by RFC 9113, 8.2 and 8.3. */
export function responseOf(status: number, fields: readonly string[]): ResponseMessage {
  const message = new ResponseMessage();
  message.status = status;
  const { headers } = message;
  for (let i = 0; i < fields.length; i += 2) {
    const name = fields[i] as string;
    const value = fields[i + 1] as string;
    if (name === ":status" || dropped.has(name)) continue;
    if (name === "content-length") message.contentLength = Number(value);
    headers.add(name, value);
  }
  return message;
}
