import { Headers } from "../headers.ts";

/** The head of a response: names and values in turn. What is in it was checked when it was read, or is ours. */
export function responseFields(status: number, headers: Headers): string[] {
  const fields = [":status", statusText(status)];
  addFields(fields, headers);
  return fields;
}

/** Trailers, likewise. */
export function trailerFields(headers: Headers): string[] {
  const fields: string[] = [];
  addFields(fields, headers);
  return fields;
}

/** Trailers of a request. They were checked when they came. */
export function readTrailers(fields: readonly string[]): Headers {
  const headers = new Headers();
  for (let i = 0; i < fields.length; i += 2) headers.add(fields[i] as string, fields[i + 1] as string);
  return headers;
}

const texts = new Map<number, string>();

/** Of the few hundred that there can be each is made once. */
function statusText(status: number): string {
  let text = texts.get(status);
  if (text === undefined) {
    text = String(status);
    texts.set(status, text);
  }
  return text;
}

/** Appends the fields that a message of HTTP/2 may have, names and values in turn. */
export function addFields(fields: string[], { names, values }: Headers): void {
  for (let i = 0; i < names.length; i++) {
    const name = names[i] as string;
    if (!isConnectionSpecific(name)) fields.push(name, values[i] as string);
  }
}

/** RFC 9113, 8.2.2: a message with one of these is malformed. The HTTP/1 codec has removed what came; filters and mutations may add some. */
const isConnectionSpecific = (name: string): boolean =>
  name === "connection" ||
  name === "keep-alive" ||
  name === "proxy-connection" ||
  name === "transfer-encoding" ||
  name === "upgrade" ||
  name.charCodeAt(0) === 0x3a;
