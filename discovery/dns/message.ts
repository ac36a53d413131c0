/** DNS messages (RFC 1035) as far as a stub resolver needs them: one question out, the answers of three types in. */
import { DiscoveryError } from "../source.ts";

/** Record types (RFC 1035 3.2.2, RFC 3596, RFC 2782). */
export const recordTypes = { A: 1, CNAME: 5, SOA: 6, AAAA: 28, SRV: 33 } as const;
export type QueryType = "A" | "AAAA" | "SRV";

const CLASS_IN = 1;
const TYPE_OPT = 41;
const FLAG_RESPONSE = 0x8000;
const FLAG_TRUNCATED = 0x0200;
const FLAG_RECURSION_DESIRED = 0x0100;
const NAME_LENGTH_MAX = 255;
const LABEL_LENGTH_MAX = 63;
/** As many as a name can have labels: each name of an answer that goes by thousands of them would stop everything for seconds. */
const POINTERS_MAX = 127;
/** Bytes of a UDP answer that we take (RFC 6891); what doesn't fragment on any network in use. */
const UDP_PAYLOAD = 1_232;
/** Records of one answer that are read. */
const RECORDS_MAX = 10_000;

/** A record of an answer. */
export type DnsRecord =
  | { readonly type: "address"; readonly name: string; readonly ttlS: number; readonly address: string }
  | { readonly type: "alias"; readonly name: string; readonly ttlS: number; readonly target: string }
  | {
      readonly type: "srv";
      readonly name: string;
      readonly ttlS: number;
      readonly priority: number;
      readonly weight: number;
      readonly port: number;
      readonly target: string;
    };

/** An answer. */
export interface DnsAnswer {
  readonly id: number;
  readonly isTruncated: boolean;
  /** RCODE: 0 no error, 3 no such name. */
  readonly code: number;
  /** The question it answers, in lower case with its type; empty where a server that understood nothing repeats none. */
  readonly question: string;
  readonly answers: readonly DnsRecord[];
  /** For how long "there is none" holds (RFC 2308, 5); undefined if the answer doesn't say. */
  readonly negativeTtlS: number | undefined;
}

/** What `DnsAnswer.question` is for a query. */
export const questionText = (name: string, type: QueryType): string =>
  `${name.toLowerCase().replace(/\.$/, "")} ${recordTypes[type]}`;

/** A query with recursion desired, and with EDNS unless a server doesn't know that. @throws DiscoveryError "bad_settings" if the name can't be one */
export function encodeQuery(id: number, name: string, type: QueryType, withEdns = true): Buffer {
  const labels = name.replace(/\.$/, "").split(".");
  const encoded = labels.map((label) => {
    const bytes = Buffer.from(label, "ascii");
    if (bytes.length === 0 || bytes.length > LABEL_LENGTH_MAX) {
      throw new DiscoveryError("bad_settings", `${JSON.stringify(name)} is not a DNS name`);
    }
    return Buffer.concat([Buffer.of(bytes.length), bytes]);
  });
  const head = Buffer.alloc(12);
  head.writeUInt16BE(id, 0);
  head.writeUInt16BE(FLAG_RECURSION_DESIRED, 2);
  head.writeUInt16BE(1, 4);
  head.writeUInt16BE(withEdns ? 1 : 0, 10);
  const question = Buffer.alloc(5);
  question.writeUInt16BE(recordTypes[type], 1);
  question.writeUInt16BE(CLASS_IN, 3);
  if (!withEdns) return Buffer.concat([head, ...encoded, question]);
  // OPT: root name, type, payload size as class, no extended flags, no data.
  const opt = Buffer.alloc(11);
  opt.writeUInt16BE(TYPE_OPT, 1);
  opt.writeUInt16BE(UDP_PAYLOAD, 3);
  return Buffer.concat([head, ...encoded, question, opt]);
}

/** @throws DiscoveryError "bad_answer" for what isn't a whole DNS answer */
export function decodeAnswer(bytes: Buffer): DnsAnswer {
  try {
    return decode(bytes);
  } catch (error) {
    if (error instanceof DiscoveryError) throw error;
    throw new DiscoveryError("bad_answer", `DNS: a broken answer: ${error instanceof Error ? error.message : ""}`);
  }
}

function decode(bytes: Buffer): DnsAnswer {
  const flags = bytes.readUInt16BE(2);
  const code = flags & 0xf;
  const questions = bytes.readUInt16BE(4);
  if ((flags & FLAG_RESPONSE) === 0 || questions > 1) throw new Error("it is no answer to one question");
  const isTruncated = (flags & FLAG_TRUNCATED) !== 0;
  if (questions === 0) {
    if (code === 0) throw new Error("it is an answer to no question");
    return { id: bytes.readUInt16BE(0), isTruncated, code, question: "", answers: [], negativeTtlS: undefined };
  }
  const asked = readName(bytes, 12);
  const question = `${asked.name} ${bytes.readUInt16BE(asked.end)}`;
  let at = asked.end + 4;
  const answers: DnsRecord[] = [];
  let negativeTtlS: number | undefined;
  const [answerCount, authorityCount] = [bytes.readUInt16BE(6), bytes.readUInt16BE(8)];
  for (let n = 0; n < answerCount + authorityCount; n++) {
    if (n > RECORDS_MAX) throw new Error(`more than ${RECORDS_MAX} records`);
    // What was cut off isn't needed: the question is asked again over TCP.
    if (at >= bytes.length && isTruncated) break;
    const { name, end } = readName(bytes, at);
    const type = bytes.readUInt16BE(end);
    const ttlS = bytes.readUInt32BE(end + 4);
    const data = end + 10;
    at = data + bytes.readUInt16BE(end + 8);
    if (at > bytes.length) throw new Error("a record goes past the end");
    if (n < answerCount) answers.push(...readRecord(bytes, type, { name, ttlS }, data, at));
    else if (type === recordTypes.SOA) negativeTtlS = Math.min(ttlS, bytes.readUInt32BE(at - 4));
  }
  return { id: bytes.readUInt16BE(0), isTruncated, code, question, answers, negativeTtlS };
}

function readRecord(
  bytes: Buffer,
  type: number,
  head: { readonly name: string; readonly ttlS: number },
  data: number,
  end: number,
): DnsRecord[] {
  switch (type) {
    case recordTypes.A:
      if (end - data !== 4) throw new Error("an A record without an IPv4 address");
      return [{ type: "address", ...head, address: [...bytes.subarray(data, end)].join(".") }];
    case recordTypes.AAAA: {
      if (end - data !== 16) throw new Error("an AAAA record without an IPv6 address");
      const groups = Array.from({ length: 8 }, (_, n) => bytes.readUInt16BE(data + 2 * n).toString(16));
      return [{ type: "address", ...head, address: shortIpv6(groups) }];
    }
    case recordTypes.CNAME:
      return [{ type: "alias", ...head, target: readName(bytes, data).name }];
    case recordTypes.SRV: {
      const [priority, weight, port] = [0, 2, 4].map((n) => bytes.readUInt16BE(data + n)) as [number, number, number];
      return [{ type: "srv", ...head, priority, weight, port, target: readName(bytes, data + 6).name }];
    }
    default:
      return [];
  }
}

/** The one spelling of RFC 5952: URL's parser knows it. */
const shortIpv6 = (groups: readonly string[]): string => new URL(`http://[${groups.join(":")}]`).hostname.slice(1, -1);

/** A name in lower case, without the last dot. Pointers go backwards only, so that there is an end (RFC 1035 4.1.4). */
function readName(bytes: Buffer, start: number): { readonly name: string; readonly end: number } {
  const labels: string[] = [];
  let at = start;
  let end: number | undefined;
  let lowest = start;
  let length = 0;
  let pointers = 0;
  for (;;) {
    const size = bytes.readUInt8(at);
    if (size >= 0xc0) {
      end ??= at + 2;
      at = bytes.readUInt16BE(at) & 0x3fff;
      if (at >= lowest) throw new Error("a name that points forwards");
      if (++pointers > POINTERS_MAX) throw new Error("a name of too many pointers");
      lowest = at;
      continue;
    }
    if (size > LABEL_LENGTH_MAX) throw new Error("a label of an unknown kind");
    if (size === 0) return { name: labels.join("."), end: end ?? at + 1 };
    length += size + 1;
    if (length > NAME_LENGTH_MAX) throw new Error("a name that is too long");
    if (at + 1 + size > bytes.length) throw new Error("a name goes past the end");
    labels.push(bytes.toString("latin1", at + 1, at + 1 + size).toLowerCase());
    at += size + 1;
  }
}
