/** RFC 9113, 3.4: what a client that knows beforehand that we speak HTTP/2 begins with. No HTTP/1 request of ours has the method PRI. */
export const PREFACE = Buffer.from("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "latin1");

/** Whether the first bytes of a connection begin HTTP/2; "part": more are needed to tell. */
export function isPreface(bytes: Buffer): "yes" | "no" | "part" {
  const length = Math.min(bytes.length, PREFACE.length);
  if (PREFACE.compare(bytes, 0, length, 0, length) !== 0) return "no";
  return length === PREFACE.length ? "yes" : "part";
}
