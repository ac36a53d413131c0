import { STATUS_CODES } from "node:http";

const statusLines: string[] = [];

/** The reason phrase of a status, as Envoy would write it. */
export const reasonOf = (status: number): string => STATUS_CODES[status] ?? "Unknown";

/** `HTTP/1.1 200 OK` and CRLF. */
export function statusLine(status: number): string {
  return (statusLines[status] ??= `HTTP/1.1 ${status} ${reasonOf(status)}\r\n`);
}

/** A head and pieces of body below this go out as one string; above, copying costs more than a second write. */
export const COALESCE_BYTES_MAX = 16_384;

/** Whether a response of this status to this method has no body, whatever its fields say (RFC 9112, 6.3). */
export const isBodiless = (status: number, method: string): boolean =>
  method === "HEAD" || status === 204 || status === 304 || status < 200;
