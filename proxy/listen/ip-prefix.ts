import { isIPv4, isIPv6 } from "node:net";

/** The bytes of an IP address, 4 or 16; an IPv4 address in IPv6 clothes (::ffff:1.2.3.4) is an IPv4 one. Undefined: it is none. */
export function addressBytes(text: string): Uint8Array | undefined {
  const address = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(text)?.[1] ?? text;
  if (isIPv4(address)) return Uint8Array.from(address.split("."), Number);
  const [plain = ""] = address.split("%");
  if (!isIPv6(plain)) return undefined;
  // A dotted end counts as two groups.
  const hex = plain.replace(/(\d+)\.(\d+)\.(\d+)\.(\d+)$/, (_, ...parts: string[]) => {
    const [a = 0, b = 0, c = 0, d = 0] = parts.slice(0, 4).map(Number);
    return `${((a << 8) | b).toString(16)}:${((c << 8) | d).toString(16)}`;
  });
  const [head = "", tail] = hex.split("::");
  const groups = (part: string | undefined) => (part ? part.split(":").map((group) => Number.parseInt(group, 16)) : []);
  const [before, after] = [groups(head), groups(tail)];
  const all = [...before, ...Array.from({ length: 8 - before.length - after.length }, () => 0), ...after];
  return Uint8Array.from(all.flatMap((group) => [group >> 8, group & 255]));
}

/** A range of IP addresses, as CidrRange has it. */
export interface IpPrefix {
  readonly bytes: Uint8Array;
  /** Bits that count. */
  readonly length: number;
}

/** Whether an address is in a range; addresses of the other family never are. */
export function contains({ bytes, length }: IpPrefix, address: Uint8Array): boolean {
  if (address.length !== bytes.length) return false;
  const whole = length >> 3;
  for (let at = 0; at < whole; at++) if (address[at] !== bytes[at]) return false;
  const rest = length & 7;
  if (rest === 0) return true;
  const mask = (0xff00 >> rest) & 0xff;
  return ((address[whole] ?? 0) & mask) === ((bytes[whole] ?? 0) & mask);
}

/** A text that is the same for ranges of the same addresses. */
export function prefixKey({ bytes, length }: IpPrefix): string {
  const masked = bytes.map((byte, at) => byte & ((0xff00 >> Math.max(0, Math.min(8, length - at * 8))) & 0xff));
  return `${Buffer.from(masked).toString("hex")}/${length}`;
}

/** Whether an address is one of this machine to itself: 127.0.0.0/8 or ::1. */
export const isLoopbackAddress = (bytes: Uint8Array): boolean =>
  bytes.length === 4 ? bytes[0] === 127 : bytes.every((byte, at) => byte === (at === 15 ? 1 : 0));
