/**
 * A difference from llhttp that is meant to be. It is told by what takes it away: after `rewrite` ours must read the very same requests as
 * before, and llhttp the same as ours. Nothing else can hide behind it.
 */
export interface FuzzException {
  /** The same bytes without what leads to the difference. */
  readonly rewrite: (bytes: string) => string;
  readonly why: string;
  /** Bytes that need it. */
  readonly example: string;
}

const post = (fields: string, body: string): string => `POST /§ HTTP/1.1\r\nHost: a.test\r\n${fields}\r\n${body}`;

/** Where ours accepts a request that llhttp (Node 24, strict) reads in another way, or not at all. */
export const fuzzExceptions: readonly FuzzException[] = [
  {
    // The section behind a last chunk, up to its empty line: framing fields in it become others of the same length.
    rewrite: (bytes) =>
      bytes.replaceAll(/\r\n0+(;[^\r\n]*)?\r\n([^\r\n]+\r\n)+/g, (section) =>
        section.replaceAll(/^(content-length|transfer-encoding)(?=:)/gim, (name) => name.replace(/^./, "y")),
      ),
    why: "llhttp takes a framing field in the trailer section for one of the head, and refuses it; ours drops it unread (RFC 9110, 6.5.1)",
    example: post("Transfer-Encoding: chunked\r\n", "3\r\nabc\r\n0\r\nContent-Length: 9\r\n\r\n"),
  },
  {
    rewrite: (bytes) => bytes.replaceAll(/(?<=\r\n[0-9a-f]{1,13});[^\r\n]*(?=\r\n)/gi, ""),
    why: "llhttp checks the grammar of chunk extensions; ours reads over them up to the CRLF, as Envoy does, and sends none on",
    example: post("Transfer-Encoding: chunked\r\n", "3;\r\nabc\r\n0\r\n\r\n"),
  },
  {
    rewrite: (bytes) => bytes.replaceAll(/(?<=^transfer-encoding:[ \t]*chunked)[ \t]+(?=\r\n)/gim, ""),
    why: "llhttp doesn't take a tab for white space behind a value, which it is (RFC 9110, 5.6.3); what ours sends on has none",
    example: post("Transfer-Encoding: chunked\t\r\n", "3\r\nabc\r\n0\r\n\r\n"),
  },
  {
    rewrite: (bytes) => bytes.replaceAll(/^upgrade:[^\r\n]*h2c[^\r\n]*\r\n/gim, ""),
    why: "ours ignores an upgrade to h2c, which RFC 9113 dropped; llhttp waits for what was upgraded to behind it",
    example: `${post("Connection: Upgrade\r\nUpgrade: h2c\r\n", "")}GET /§ HTTP/1.1\r\nHost: a.test\r\n\r\n`,
  },
];

/** The bytes without all that the exceptions are about. */
export const withoutExceptions = (bytes: string): string =>
  fuzzExceptions.reduce((text, { rewrite }) => rewrite(text), bytes);
