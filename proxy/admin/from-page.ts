import type { IncomingMessage } from "node:http";
import { isIP } from "node:net";

/**
 * Whether a request comes from a web page, as far as a browser tells: one of another site (Fetch standard: Sec-Fetch-Site, Origin), or, where
 * only this machine reaches the endpoint, one whose own name was turned to a loopback address (DNS rebinding), and whose requests therefore name
 * that host.
 */
export function isFromPage({ headers }: Pick<IncomingMessage, "headers">, onLoopback: boolean): boolean {
  const site = headers["sec-fetch-site"];
  if (site === "cross-site" || site === "same-site") return true;
  const { host = "", origin } = headers;
  if (origin !== undefined && (!URL.canParse(origin) || new URL(origin).host !== host.toLowerCase())) return true;
  return onLoopback && host !== "" && !isOurs(host);
}

/** Whether a Host is an address, or a name that no name server is asked for (RFC 6761, 6.3). */
function isOurs(host: string): boolean {
  const name = host.replace(/:\d*$/, "");
  const address = /^\[(.*)\]$/.exec(name)?.[1] ?? name;
  return isIP(address) !== 0 || /^(.+\.)?localhost\.?$/i.test(name);
}
