import { HEX } from "../http1/chars.ts";

/** The path options of HttpConnectionManager. */
export interface PathOptions {
  readonly normalizePath: boolean;
  readonly mergeSlashes: boolean;
  readonly escapedSlashes: "keep" | "reject" | "redirect" | "forward";
}

/** `redirect`: the client is to ask again for the path. */
export type NormalizedPath = { readonly kind: "ok" | "redirect"; readonly path: string } | { readonly kind: "reject" };

const REJECT: NormalizedPath = { kind: "reject" };

/** Whether anything in a path could need work: an escape, what must be one, "\\", "//", or a segment that begins with ".". */
const SUSPICIOUS = /[%\\"<>^`{|}]|\/\/|\/\./;
/** What RFC 3986 doesn't allow in a path; Envoy escapes it. */
const TO_ESCAPE = /["<>^`{|}]/g;

/**
 * The one place that decides what the path of a request is. In Envoy's order: escaped slashes, then dot segments and escapes (RFC 3986, 6.2.2,
 * as the URL library that Envoy uses does it), then repeated slashes. The query stays as it is.
 */
export function normalizePath(target: string, options: PathOptions): NormalizedPath {
  const query = target.indexOf("?");
  const original = query < 0 ? target : target.slice(0, query);
  if (!SUSPICIOUS.test(original)) return { kind: "ok", path: target };
  let path = original;
  let kind: "ok" | "redirect" = "ok";
  if (options.escapedSlashes !== "keep") {
    const unescaped = path.replace(/%2f/gi, "/").replace(/%5c/gi, "\\");
    if (unescaped !== path) {
      if (options.escapedSlashes === "reject") return REJECT;
      if (options.escapedSlashes === "redirect") kind = "redirect";
      path = unescaped;
    }
  }
  if (options.normalizePath) {
    const unescaped = unescape(path.replaceAll("\\", "/"));
    if (unescaped === undefined) return REJECT;
    path = removeDotSegments(unescaped).replace(TO_ESCAPE, escape);
  }
  if (options.mergeSlashes) path = path.replace(/\/{2,}/g, "/");
  return { kind, path: query < 0 ? path : path + target.slice(query) };
}

/** Decodes escapes of unreserved characters and leaves all others as they were written; undefined: there is an escaped NUL. */
function unescape(path: string): string | undefined {
  let text = "";
  let kept = 0;
  let broken = false;
  const decoded: number[] = [];
  for (let i = path.indexOf("%"); i >= 0; i = path.indexOf("%", i + 1)) {
    const byte = (HEX[path.charCodeAt(i + 1)] ?? 255) * 16 + (HEX[path.charCodeAt(i + 2)] ?? 255);
    if (byte === 0) return undefined;
    // No hexadecimal digits: 255 * 16 + x, or x * 16 + 255, where only 15 * 16 + 15 is a real one.
    if (byte > 255 || (byte === 255 && HEX[path.charCodeAt(i + 1)] !== 15)) broken = true;
    if (!isUnreserved(byte)) continue;
    text += path.slice(kept, i);
    decoded.push(text.length);
    text += String.fromCharCode(byte);
    kept = i + 3;
  }
  if (kept === 0) return path;
  text += path.slice(kept);
  return broken ? escapeLaidBare(text, decoded) : text;
}

/**
 * Where a decoded character completes an escape that wasn't one before ("%4%41" is not "%4A"), its "%" is escaped: what comes after us would
 * decode it and read another path than the one that was routed. `decoded`: where decoded characters are.
 */
function escapeLaidBare(path: string, decoded: readonly number[]): string {
  const percents = new Set<number>();
  for (const at of decoded) {
    for (const percent of [at - 2, at - 1])
      if (/^%[0-9a-f]{2}/i.test(path.slice(percent, percent + 3))) percents.add(percent);
  }
  let escaped = path;
  for (const at of [...percents].toSorted((a, b) => b - a))
    escaped = `${escaped.slice(0, at)}%25${escaped.slice(at + 1)}`;
  return escaped;
}

const escape = (char: string): string => `%${char.charCodeAt(0).toString(16).toUpperCase()}`;

const isUnreserved = (byte: number): boolean =>
  (byte >= 0x30 && byte <= 0x39) ||
  (byte >= 0x41 && byte <= 0x5a) ||
  (byte >= 0x61 && byte <= 0x7a) ||
  byte === 0x2d ||
  byte === 0x2e ||
  byte === 0x5f ||
  byte === 0x7e;

/** Some servers drop what follows ";" before they resolve dots; Envoy reads "..;x" as "..", too. */
const isDot = (segment: string): boolean => segment === "." || segment.startsWith(".;");
const isDotDot = (segment: string): boolean => segment === ".." || segment.startsWith("..;");

/** RFC 3986, 5.2.4. */
function removeDotSegments(path: string): string {
  if (!path.includes("/.")) return path;
  const kept: string[] = [];
  const segments = path.split("/");
  segments.shift();
  for (const [i, segment] of segments.entries()) {
    const last = i === segments.length - 1;
    const back = isDotDot(segment);
    const dropped = back || isDot(segment);
    if (back) kept.pop();
    else if (!dropped) kept.push(segment);
    // "/a/." and "/a/.." name directories.
    if (last && dropped) kept.push("");
  }
  return `/${kept.join("/")}`;
}
