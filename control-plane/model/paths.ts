/**
 * Path patterns of routes: "/list" (exact), "/items/*" (all below) and "/users/:id/orders" (":id" stands for any one
 * segment).
 *
 * What is routed is the normalised path (RFC 3986, section 6; Envoy's normalize_path), so a pattern must be written
 * in that form: no dot segments, no "//", nothing encoded that need not be. A pattern in another form could never
 * match, or would match less than it seems to.
 */
import { type Parsed, type Problem, quoted } from "./problem.ts";

/** One segment of a path pattern; a wildcard stands last. */
export type Segment =
  | { readonly kind: "literal"; readonly text: string }
  | { readonly kind: "parameter"; readonly name: string }
  | { readonly kind: "wildcard" };

/** A path pattern, segment by segment; "/" is one empty literal. */
export type PathPattern = readonly Segment[];

/** Reads a path pattern. The field of its problems is "": the pattern itself. */
export function parsePath(path: string): Parsed<PathPattern> {
  const problems: Problem[] = [];
  const wrong = (message: string) => problems.push({ field: "", reason: "invalid_path", message });
  if (!path.startsWith("/")) {
    wrong(`${quoted(path)} must start with "/"`);
    return { ok: false, problems };
  }
  checkCharacters(path, wrong);

  const texts = path.slice(1).split("/");
  const names = new Set<string>();
  const segments = texts.map((text, at): Segment => {
    const last = at === texts.length - 1;
    if (text === "" && !last) wrong(`${quoted(path)} holds "//"; write one "/"`);
    if (text === "." || text === "..")
      wrong(`${quoted(path)} holds a dot segment; requests are matched after "." and ".." are resolved`);
    if (text === "*" && last) return { kind: "wildcard" };
    if (text.includes("*")) wrong(`${quoted(path)}: "*" stands alone as the last segment, as in "/items/*"`);
    if (!text.startsWith(":")) return { kind: "literal", text };
    const name = text.slice(1);
    if (!/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      wrong(`${quoted(path)}: ${quoted(text)} is not a parameter; a segment is ":" and letters, digits and "_"`);
    }
    if (names.has(name)) wrong(`${quoted(path)} has two parameters ${quoted(name)}; give them different names`);
    names.add(name);
    return { kind: "parameter", name };
  });
  return problems.length === 0 ? { ok: true, value: segments } : { ok: false, problems };
}

/** Reads the path prefix of a service: literal segments, none for "" and "/". */
export function parsePathPrefix(prefix: string): Parsed<PathPattern> {
  if (prefix === "" || prefix === "/") return { ok: true, value: [] };
  const parsed = parsePath(prefix);
  if (!parsed.ok) return parsed;
  const wrong = (message: string): Parsed<PathPattern> => ({
    ok: false,
    problems: [{ field: "", reason: "invalid_path", message }],
  });
  if (prefix.endsWith("/"))
    return wrong(`${quoted(prefix)} must not end with "/"; the paths of the routes begin with one`);
  if (parsed.value.some(({ kind }) => kind !== "literal")) {
    return wrong(
      `${quoted(prefix)} is taken literally and holds no "*" or ":name"; those belong into the paths of the routes`,
    );
  }
  return parsed;
}

/** RFC 3986: pchar and "/". */
const PATH_CHARACTERS = /^[A-Za-z0-9\-._~!$&'()*+,;=:@%/]*$/;

function checkCharacters(path: string, wrong: (message: string) => void): void {
  if (path.includes("?")) wrong(`${quoted(path)} holds a query; match it with vars, as in ["arg_page", "==", "3"]`);
  else if (path.includes("#")) wrong(`${quoted(path)} holds a fragment; clients don't send it`);
  else if (!PATH_CHARACTERS.test(path)) {
    const bad = Array.from(path).find((character) => !PATH_CHARACTERS.test(character)) ?? "";
    wrong(`${quoted(path)} holds ${quoted(bad)}; write it as clients send it: ${quoted(percentEncoded(bad))}`);
  }
  for (const [escape] of path.matchAll(/%.{0,2}/gs)) {
    if (!/^%[0-9A-F]{2}$/.test(escape)) {
      wrong(`${quoted(path)}: ${quoted(escape)} is not "%" and two upper-case hexadecimal digits`);
      continue;
    }
    const byte = Number.parseInt(escape.slice(1), 16);
    const character = String.fromCharCode(byte);
    if (/[A-Za-z0-9\-._~]/.test(character)) {
      // Normalisation decodes these (RFC 3986, 6.2.2.2), so the encoded form is never seen.
      wrong(`${quoted(path)}: write ${quoted(character)} instead of ${quoted(escape)}`);
    } else if (character === "/" || character === "\\") {
      wrong(`${quoted(path)}: requests with ${quoted(escape)} in their path are refused, so it can't match`);
    } else if (byte < 0x20 || byte === 0x7f) {
      wrong(`${quoted(path)}: ${quoted(escape)} is a control character`);
    }
  }
}

function percentEncoded(character: string): string {
  return [...Buffer.from(character)].map((byte) => `%${byte.toString(16).toUpperCase().padStart(2, "0")}`).join("");
}
