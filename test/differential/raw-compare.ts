import type { Outcome } from "../support/raw-probe.ts";
import type { Seen } from "../support/recording-origin.ts";

/** What a data plane did with some bytes: what its client and what the origin saw. */
export interface Reading extends Outcome {
  seen: readonly Seen[];
}

/** How two readings of the same bytes differ. */
export type Difference =
  /** Ours refuses a request that Envoy takes or goes on waiting for. */
  | "stricter"
  /** Ours takes or goes on waiting for a request that Envoy refuses. */
  | "laxer"
  /** Both refuse, by another status. */
  | "status"
  /** Envoy took it, and reset the connection before its response was read. */
  | "lost"
  /** Both take it, and one of them says 100 or another 1xx where the other doesn't. */
  | "interim"
  /** Both take it, and a field differs at the origin. */
  | "fields"
  /** Both take it, and it is not the same request, body or sequence. The one thing that must never be. */
  | "reading";

/** Fields that Envoy and we make anew for each request, or that name the peer. */
const own = /^(x-request-id|x-forwarded-for|x-envoy-expected-rq-timeout-ms|x-envoy-external-address):/;

/** Fields in the order of their names; lines of one name joined (RFC 9110, 5.3), as Envoy does with the names that it knows. */
function fieldsOf(seen: Seen): string {
  const byName = new Map<string, string>();
  for (const field of seen.fields) {
    if (own.test(field)) continue;
    const [name = ""] = field.split(":", 1);
    const value = field.slice(name.length + 2);
    byName.set(name, [byName.get(name) ?? "", value].filter((each) => each !== "").join(","));
  }
  return [...byName]
    .map(([name, value]) => `${name}: ${value}`)
    .toSorted()
    .join("\n");
}

const requestOf = ({ method, path, bodyLength, bodySha256, trailers }: Seen): string =>
  [method, path, bodyLength, bodySha256, trailers].join(" ");

/** Whether the data plane itself answered the last request by closing: with an error, or without a word. */
const refused = ({ responses, end }: Reading): boolean => {
  const last = responses.at(-1);
  return (
    end === "closed" && (last === undefined || (last.status >= 400 && last.close && !last.body.startsWith("ORIGIN ")))
  );
};

/** Responses of the origin, and those of the data plane that leave the connection open. */
const answered = (reading: Reading): string[] =>
  (refused(reading) ? reading.responses.slice(0, -1) : reading.responses).map(
    ({ status, body }) => `${status} ${body}`,
  );

const final = (answers: readonly string[]): string[] => answers.filter((answer) => !answer.startsWith("1"));

const isPrefix = (some: readonly string[], all: readonly string[]): boolean => some.every((it, i) => it === all[i]);

/** The difference, and each side's account of it; undefined if they are alike. */
export function compare(ours: Reading, theirs: Reading): { kind: Difference; text: string } | undefined {
  const kind = kindOf(ours, theirs);
  return kind === undefined ? undefined : { kind, text: `native ${describe(ours)}\n    Envoy  ${describe(theirs)}` };
}

function kindOf(ours: Reading, theirs: Reading): Difference | undefined {
  const [answersOurs, answersTheirs] = [answered(ours), answered(theirs)];
  const [seenOurs, seenTheirs] = [ours.seen.map(requestOf), theirs.seen.map(requestOf)];
  const [refusedOurs, refusedTheirs] = [refused(ours), refused(theirs)];
  if (ours.garbage !== "") return "reading";
  const [finalOurs, finalTheirs] = [final(answersOurs), final(answersTheirs)];
  if (refusedTheirs && theirs.responses.at(-1) === undefined && finalTheirs.length < seenTheirs.length) {
    return isPrefix(seenOurs, seenTheirs) ? "lost" : "reading";
  }
  // A side that refuses an earlier one of several requests is the stricter one, even if the other refuses a later one.
  const earlier = refusedOurs && (!refusedTheirs || finalOurs.length < finalTheirs.length);
  if (earlier) return isPrefix(finalOurs, finalTheirs) && isPrefix(seenOurs, seenTheirs) ? "stricter" : "reading";
  const later = refusedTheirs && (!refusedOurs || finalOurs.length > finalTheirs.length);
  if (later) return isPrefix(finalTheirs, finalOurs) && isPrefix(seenTheirs, seenOurs) ? "laxer" : "reading";
  if (seenOurs.join("\n") !== seenTheirs.join("\n") || finalOurs.join("\n") !== finalTheirs.join("\n"))
    return "reading";
  if (ours.end !== theirs.end) return "reading";
  if (refusedOurs && ours.responses.at(-1)?.status !== theirs.responses.at(-1)?.status) return "status";
  if (answersOurs.length !== answersTheirs.length) return "interim";
  return ours.seen.every((seen, i) => fieldsOf(seen) === fieldsOf(theirs.seen[i] as Seen)) ? undefined : "fields";
}

function describe({ responses, end, seen, garbage, dataAtMs }: Reading): string {
  const answers = responses.map(({ status, body }) => `${status}${body === "" ? "" : ` ${body.trim().slice(0, 60)}`}`);
  const fields = seen.map((it) => `${it.atMs} ms: ${requestOf(it)} ${fieldsOf(it).slice(0, 300)}`);
  return `${end} ${JSON.stringify(answers)} after ${dataAtMs.join()} ms, origin ${JSON.stringify(fields)}${garbage === "" ? "" : ` garbage ${JSON.stringify(garbage)}`}`;
}

/** What must hold for whatever the native proxy sends on: one framing, one host, nothing that concerns the client's connection. */
export function unsound(seen: Seen): string[] {
  const count = (name: string) => seen.fields.filter((field) => field.startsWith(`${name}:`)).length;
  const problems: string[] = [];
  if (count("content-length") + count("transfer-encoding") > 1) problems.push("two framings");
  if (count("host") !== 1) problems.push(`${count("host")} host fields`);
  if (seen.trailers > 0) problems.push("trailers");
  for (const name of ["keep-alive", "proxy-connection", "http2-settings", "trailer"]) {
    if (count(name) > 0) problems.push(name);
  }
  if (seen.fields.some((field) => /^expect: 100-continue$/i.test(field))) problems.push("expect");
  if (seen.fields.some((field) => /^upgrade: .*h2c/i.test(field))) problems.push("h2c");
  return problems;
}
