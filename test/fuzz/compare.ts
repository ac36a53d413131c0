import type { ReadRequest, RequestReading } from "./reading.ts";

/** What ours reads and leaves out of the fields, since it concerns this connection only, or is kept elsewhere. */
const READ_AND_DROPPED =
  /^(host|connection|keep-alive|proxy-.*|transfer-encoding|te|trailer|upgrade|expect|http2-settings)$/;

/** How another parser reads differently what ours accepted; undefined: it doesn't. */
export function difference(ours: RequestReading, theirs: RequestReading): string | undefined {
  for (const [i, request] of ours.requests.entries()) {
    const other = theirs.requests[i];
    if (other === undefined) return `request ${i + 1}: ${theirs.refused ? "refused" : "only ours reads it"}`;
    // One that ours refused amid its body was not accepted.
    const broken = ours.refused && !request.complete;
    const refusedAmidBody = theirs.refused && !other.complete && request.body.startsWith(other.body);
    const differs = broken
      ? undefined
      : (headDifference(request, other) ?? bodyDifference(request, other, refusedAmidBody));
    if (differs !== undefined) return `request ${i + 1}: ${differs}`;
  }
  // Beyond the last request that ours took it refused, waits, or has closed; the other may have read on, but not between ours.
  return undefined;
}

function headDifference(ours: ReadRequest, theirs: ReadRequest): string | undefined {
  if (ours.method !== theirs.method) return `method ${ours.method}, ${theirs.method}`;
  if (ours.target !== theirs.target) return `target ${ours.target}, ${theirs.target}`;
  if (ours.authority !== theirs.authority) return `authority ${ours.authority}, ${theirs.authority}`;
  return fieldDifference(ours, theirs);
}

function bodyDifference(ours: ReadRequest, theirs: ReadRequest, refused: boolean): string | undefined {
  if (ours.body === theirs.body && ours.complete === theirs.complete) return undefined;
  if (refused) return "refused";
  if (ours.body !== theirs.body) return `body ${JSON.stringify(ours.body)}, ${JSON.stringify(theirs.body)}`;
  return `complete ${ours.complete}, ${theirs.complete}`;
}

/** Ours must be theirs, in their order, without those that ours drops, which are the known ones and those that Connection names. */
function fieldDifference(ours: ReadRequest, theirs: ReadRequest): string | undefined {
  const named = new Set(
    theirs.fields
      .flatMap(([name, value]) => (name === "connection" ? value.toLowerCase().split(",") : []))
      .map((name) => name.trim()),
  );
  const left = theirs.fields.filter(([name]) => !READ_AND_DROPPED.test(name));
  let at = 0;
  for (const [name, value] of left) {
    const [ourName, ourValue] = nextField(ours, at) ?? ["", ""];
    if (ourName === name && ourValue === value) {
      at = indexAfter(ours, at);
      continue;
    }
    if (!named.has(name))
      return `field ${name}: ${JSON.stringify(value)} is ${ourName}: ${JSON.stringify(ourValue)} here`;
  }
  const more = nextField(ours, at);
  return more === undefined ? undefined : `field ${more[0]}: ${JSON.stringify(more[1])} is only here`;
}

/** "te: trailers" is written anew and an expectation that isn't 100-continue kept; neither is compared. */
const isOwn = (name: string): boolean =>
  name === "te" || name === "expect" || name === "upgrade" || name === "connection";

function nextField({ fields }: ReadRequest, from: number): [string, string] | undefined {
  return fields.slice(from).find(([name]) => !isOwn(name));
}

function indexAfter({ fields }: ReadRequest, from: number): number {
  let at = from;
  while (at < fields.length && isOwn(fields[at]?.[0] ?? "")) at++;
  return at + 1;
}
