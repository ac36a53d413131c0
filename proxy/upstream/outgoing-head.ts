import type { Endpoint } from "../cluster/cluster.ts";
import type { RequestHead } from "../request.ts";
import type { HostRewrite } from "../route/route.ts";

/** The host that the endpoint is told. The router has done the other rewrites; this one needs to know the endpoint. */
export function outgoingHost({ authority }: RequestHead, rewrite: HostRewrite | undefined, endpoint: Endpoint): string {
  return rewrite?.kind === "auto" ? endpoint.hostname || authority : authority;
}

/** A request's head in HTTP/1.1: request line and fields, without the empty line. */
export function requestText(head: RequestHead, host: string, upgrade: string): string {
  const text = head.method + " " + head.path + " HTTP/1.1\r\nhost: " + host + "\r\n" + head.headers.toLines();
  return upgrade === "" ? text : `${text}connection: upgrade\r\nupgrade: ${upgrade}\r\n`;
}
