import { Headers } from "../../proxy/headers.ts";
import type { RequestHead } from "../../proxy/request.ts";

/** A request head for tests: GET http://example.com/ from 192.0.2.1, with what the test says instead. */
export function requestHead(
  parts: Partial<Omit<RequestHead, "headers">> & {
    headers?: Readonly<Record<string, string | readonly string[]>>;
  } = {},
): RequestHead {
  const headers = new Headers();
  for (const [name, value] of Object.entries(parts.headers ?? {})) {
    for (const one of typeof value === "string" ? [value] : value) headers.add(name, one);
  }
  return {
    method: "GET",
    scheme: "http",
    authority: "example.com",
    path: "/",
    remoteAddress: "192.0.2.1",
    remotePort: 40_000,
    ...parts,
    headers,
  };
}
