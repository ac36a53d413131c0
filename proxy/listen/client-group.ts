import { addressBytes } from "./ip-prefix.ts";

/**
 * What counts as one client: an IPv4 address, or the /64 that an IPv6 address is in, since a site has at least that many to itself (RFC 6177).
 * Undefined: the text is no address.
 */
export function clientGroup(address: string): string | undefined {
  const bytes = addressBytes(address);
  return bytes && Buffer.from(bytes.length === 4 ? bytes : bytes.subarray(0, 8)).toString("hex");
}
