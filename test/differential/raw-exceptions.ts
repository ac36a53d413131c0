import type { Difference } from "./raw-compare.ts";

/** A difference from Envoy that is meant to be. */
export interface Exception {
  readonly kind: Difference;
  /** What leads to it, in the bytes that are sent (latin1, "§" for the mark). */
  readonly applies: RegExp;
  readonly why: string;
}

/**
 * Where ours answers 400 (413, 414, 501) and closes, and Envoy 1.40 forwards, with its default options. Each of these is something that two
 * parsers in a row are known to read in two ways, which is how requests are smuggled.
 */
const stricter: readonly [applies: RegExp, why: string][] = [
  [
    / http:\/\/[^/?\s]*[!$&'()*+,;=%~]/i,
    "odd characters in the host of an absolute target, most of which Envoy refuses, too",
  ],
  [/\r?\n[ \t]/, "obs-fold: RFC 9112, 5.2 has a server refuse it or unfold it; Envoy unfolds"],
  [/(^|[^\r])\n/, "a bare LF as line end: RFC 9112, 2.2 allows both"],
  [/\r(?!\n)/, "a bare CR: RFC 9112, 2.2 has it refused or made a space; Envoy drops it"],
  [/^(\r\n){2}|\r\n[^\r\n:]*(\r\n){2,}/, "more than the one empty line before a request that RFC 9112, 2.2 grants"],
  [
    /^[^\r\n]*(\t| {2})[^\r\n]*\r\n|\n[A-Z]+(\t| {2})|(\t| {2})HTTP\/1|HTTP\/1\.[01][ \t]/,
    "a request line's parts parted by other than one space",
  ],
  [/\n[0-9a-f]+[ \t]+[;\r]/i, "white space behind a chunk size"],
  [/\n[0-9a-f]{14,}[\r;]/i, "a chunk size of more than 13 digits, where counting ends to be exact"],
  [
    /chunked[\s\S]*\r\n\r\n[\s\S]*[^\r]0\r\n/i,
    "a chunk that is longer than it says: Envoy skips what is too much up to the next line",
  ],
  [/\n[0-9a-f]+[^\r\n]*;[^\r\n]*[^\t\r\n\x20-\x7e\x80-\xff]/i, "control characters in a chunk extension"],
  [/\n[0-9a-f]+;[^\r\n]{16000}/i, "more than 16 KiB of chunk extensions"],
  [/content-length:\s*\d{16}/i, "a content-length beyond what is counted exactly"],
  [
    /host:[^\r\n]*\r\n([^\r\n]+\r\n)*host:/i,
    "two host fields, even if equal: RFC 9112, 3.2; Envoy joins them by a comma",
  ],
  [/host:\s*(:\d*)?\r\n/i, "an empty host: nothing that we route is without one"],
  [/host:[^\r\n]*@/i, "user information in host: RFC 9110, 4.2.4"],
  [
    /host:\s*[^\r\n]*:(\d{6,}|[7-9]\d{4}|6(5(53[6-9]|5[4-9]\d|[6-9]\d\d)|[6-9]\d{3})|\d*[^\d\r\n\]:][^\r\n]*)\r\n/i,
    "a port that is none",
  ],
  [/host:\s*(\[[^\]\r\n]*|[^\r\n]*[\\"<>^`{|}, /\t\x80-\xff][^\r\n]*)\r\n/i, "a host that RFC 3986 doesn't allow"],
  [/ http:\/\/[^/\r\n]*@/i, "user information in an absolute target: RFC 9110, 4.2.4"],
  [
    /^[A-Z]+ http:\/\/\S* HTTP\/1\.1\r\n(?!([^\r\n]+\r\n)*host:)/i,
    "HTTP/1.1 without a host field: RFC 9112, 3.2 asks for 400 whatever the target",
  ],
  [/connection:[^\r\n]*[^,:\s][ \t]+[^,\s]/i, "a connection option that is no token"],
  [/connection:[^\r\n]*[^!#$%&'*+\-.^_`|~0-9a-z,: \t\r\n][^\r\n]*/i, "a connection option that is no token"],
  [/^[A-Z]+ \S{8193}/, "a target of more than 8 KiB, for which 414 is the answer"],
  [
    /^POST \/ws|\/ws[\s\S]*content-length: [1-9]/i,
    "an upgrade other than by a GET without a body: whose bytes follow would be in doubt",
  ],
];

/** Where ours takes what Envoy refuses. */
const laxer: readonly [RegExp, string][] = [];

/** Both refuse. */
const status: readonly [RegExp, string][] = [
  [/\S{8193}/, "ours names the target as what is too long (414), Envoy the head (431)"],
  [
    /^(?!.* HTTP\/1\.[01]\r\n)/m,
    "a version that is none is malformed (400); Envoy offers an upgrade (426) from whatever it can't read",
  ],
  [
    /transfer-encoding/i,
    "of several faults each names the first it meets; an unknown coding is 501, other framing 400",
  ],
];

/** Both take it; a field differs at the origin. */
const fields: readonly [RegExp, string][] = [
  [/\ntrailer:/i, "trailers are dropped by both; Envoy still announces them"],
  [/\nproxy-/i, "proxy-authorization and its like are meant for the gateway, not for those behind it"],
  [
    /connection:[^\r\n]*content-length/i,
    "ours keeps the length that a peer wants dropped; Envoy sends the body chunked",
  ],
  [
    /connection:[^\r\n]*(authorization|cookie|x-request-id)/i,
    "a peer can't have the gateway drop what others decide by",
  ],
  [
    /\nexpect:[ \t]*100-continue\r\n[\s\S]*\nexpect:/i,
    "what is said twice is still the same; Envoy passes on two of them as an unknown one",
  ],
  [/connection: upgrade/i, "the option is written in lower case"],
];

const interim: readonly [RegExp, string][] = [
  [
    /expect:[ \t]*100-continue/i,
    "without a body there is nothing to go on with: RFC 9110, 10.1.1 lets a server leave 100 out",
  ],
];

const lost: readonly [RegExp, string][] = [
  [
    /connection: *close/i,
    "Envoy closes with input unread, by which the kernel resets the connection; ours reads on for a while (RFC 9112, 9.6)",
  ],
];

const reading: readonly [RegExp, string][] = [
  [
    / http:\/\/[^/\r\n ]*\?/i,
    "an absolute target without a path has the path / (RFC 9110, 4.2.3); Envoy routes by ?query and finds none",
  ],
];

const table = { stricter, laxer, status, fields, interim, lost, reading } satisfies Record<Difference, unknown>;

/** Every difference between the native proxy and Envoy in reading HTTP/1 that is known, with its reason. */
export const exceptions: readonly Exception[] = Object.entries(table).flatMap(([kind, rows]) =>
  rows.map(([applies, why]) => ({ kind: kind as Difference, applies, why })),
);
