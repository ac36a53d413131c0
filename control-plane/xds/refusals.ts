/**
 * Which resources a refusal names. The protocol has one text for a whole response (`error_detail`). Sluice's proxy writes
 * "CDS: 2 resources refused: NAME: REASON | NAME: REASON" (proxy/xds/decode.ts), Envoy "Error adding/updating cluster(s) NAME: REASON,
 * NAME: REASON" and, of listeners, a line for each (CdsApiHelper, LdsApiImpl::onConfigUpdate); others may name them in any way, or not.
 */

/** A word before a colon, behind the start, a blank or a mark that parts names. */
const NAMED = /(?<=^|[\s,|'"])([^\s,|'"]+)['"]?:(?=\s)/g;

/**
 * What a refusal says of single resources of a response.
 *
 * @param changed the names in the response; one alone is what the refusal is about, whatever it says
 * @returns reasons by name; empty if the refusal names none
 */
export function refusalsIn(text: string, changed: ReadonlySet<string>): Map<string, string> {
  const [first] = changed;
  if (changed.size === 1 && first !== undefined) return new Map([[first, reasonOf(text, first)]]);
  const found: { readonly name: string; readonly start: number; readonly end: number }[] = [];
  for (const match of text.matchAll(NAMED)) {
    const name = match[1] ?? "";
    if (changed.has(name)) found.push({ name, start: match.index, end: match.index + match[0].length });
  }
  const reasons = new Map<string, string>();
  for (const [at, { name, end }] of found.entries()) {
    const reason = trimmed(text.slice(end, found[at + 1]?.start));
    const before = reasons.get(name);
    reasons.set(name, before === undefined ? reason : `${before}; ${reason}`);
  }
  return reasons;
}

/** What follows the name where it is told, else all. */
function reasonOf(text: string, name: string): string {
  const at = text.indexOf(`${name}: `);
  return at < 0 ? trimmed(text) : trimmed(text.slice(at + name.length + 2)) || trimmed(text);
}

const trimmed = (text: string) => text.replace(/^[\s|,'"]+|[\s|,'"]+$/g, "");
