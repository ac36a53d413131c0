import { isIP } from "node:net";

import { StartError } from "./start-error.ts";

/** Where a server listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/**
 * Reads "HOST:PORT" or "[IPV6]:PORT"; port 0 is any free one.
 * @param flag names the option in errors: "--admin"
 * @throws StartError
 */
export function parseAddress(text: string, flag: string): Address {
  const [, ipv6, name, digits = ""] = /^(?:\[([^\]]+)\]|([^:[\]]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = ipv6 ?? name;
  const port = Number(digits);
  if (host === undefined || port > 65_535 || (ipv6 !== undefined && isIP(ipv6) !== 6)) {
    throw new StartError(`${flag} ${text}: expected HOST:PORT, such as 127.0.0.1:9180 or [::1]:9180`);
  }
  return { host, port };
}

/** "HOST:PORT", with brackets where the host is an IPv6 address. */
export const formatAddress = ({ host, port }: Address): string =>
  isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;

/** Whether only this machine can reach a host. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || (isIP(host) === 4 && host.startsWith("127."));
}
