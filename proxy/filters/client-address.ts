import { BlockList, isIP, isIPv4 } from "node:net";

import type { Headers } from "../headers.ts";

/** How a listener tells who its clients are; undefined parts cost a request nothing. */
export interface IdentityOptions {
  /** Proxies in front of this one whose X-Forwarded-For is believed (xff_num_trusted_hops). */
  readonly trustedHops: number;
  readonly appendForwardedPort: boolean;
  /** Whether an address belongs to the operator's own network; undefined: none does (Envoy since 1.33). */
  readonly isInternal: ((address: string) => boolean) | undefined;
  /** Asked in turn for the client's address, where use_remote_address is off; undefined: X-Forwarded-For is. */
  readonly detectors: readonly Detector[] | undefined;
}

/** Envoy's defaults. */
export const DEFAULT_IDENTITY: IdentityOptions = {
  trustedHops: 0,
  appendForwardedPort: false,
  isInternal: undefined,
  detectors: undefined,
};

/** What a detector says of a request. */
export interface Detected {
  /** The client's address; undefined: it can't be told. */
  readonly address: string | undefined;
  /** Whether the address may make the request an internal one. */
  readonly trusted: boolean;
  /** The status to refuse the request with; 0: none. */
  readonly rejectStatus: number;
}

/** An original_ip_detection_extension. */
export type Detector = (headers: Headers) => Detected;

const UNKNOWN: Detected = { address: undefined, trusted: false, rejectStatus: 0 };

/** The entry of X-Forwarded-For before the last `skip` ones (Envoy Utility::getLastAddressFromXFF). */
export function addressFromForwardedFor(value: string | undefined, skip: number): Detected {
  if (value === undefined) return UNKNOWN;
  let end = value.length;
  for (let i = 0; i < skip; i++) {
    end = value.lastIndexOf(",", end - 1);
    if (end <= 0) return UNKNOWN;
  }
  const comma = end === 0 ? -1 : value.lastIndexOf(",", end - 1);
  const address = value.slice(comma + 1, end).trim();
  if (isIP(address) === 0) return UNKNOWN;
  return { address, trusted: comma < 0 && skip === 0, rejectStatus: 0 };
}

/** What the detectors find; the first that finds an address, or refuses, has the last word. */
export function detectAddress(
  detectors: readonly Detector[] | undefined,
  headers: Headers,
  trustedHops: number,
): Detected {
  if (detectors === undefined) return addressFromForwardedFor(headers.get("x-forwarded-for"), trustedHops);
  for (const detect of detectors) {
    const detected = detect(headers);
    if (detected.address !== undefined || detected.rejectStatus !== 0) return detected;
  }
  return UNKNOWN;
}

/** Reads the address from a header of its own (envoy.http.original_ip_detection.custom_header). */
export function headerDetector(name: string, trusted: boolean, rejectStatus: number): Detector {
  const refused: Detected = { address: undefined, trusted: false, rejectStatus };
  return (headers) => {
    const address = headers.get(name);
    return address === undefined || isIP(address) === 0 ? refused : { address, trusted, rejectStatus: 0 };
  };
}

/** Whether an address is in one of the ranges. */
export function addressTest(ranges: readonly (readonly [address: string, prefix: number])[]): (ip: string) => boolean {
  const list = new BlockList();
  for (const [address, prefix] of ranges) list.addSubnet(address, prefix, isIPv4(address) ? "ipv4" : "ipv6");
  return (ip) => list.check(ip, isIPv4(ip) ? "ipv4" : "ipv6");
}
