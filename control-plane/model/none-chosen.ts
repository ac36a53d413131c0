import type { Endpoint } from "#sluice/discovery/v1/snapshot_pb.ts";
import type { Discovery } from "#sluice/model/v1/upstream_pb.ts";

import { takesRequests } from "./choice.ts";
import { quoted } from "./problem.ts";

/** Of what there is instead, so much is named. */
const NAMED_MAX = 5;

/** One thing that an upstream asks of instances. */
interface Wish {
  /** After "no instance (of N) ". */
  readonly words: string;
  readonly isMet: (endpoint: Endpoint) => boolean;
  /** What an instance has there, for whoever mistyped it; or what to do. */
  readonly instead: string | ((endpoint: Endpoint) => readonly string[]);
}

/**
 * Why an upstream takes none of a service's endpoints, for people: the first thing that it asks for and no instance has, with what there is
 * instead. To be asked only where `choose` gives none of some.
 */
export function whyNoneChosen(endpoints: readonly Endpoint[], discovery: Discovery): string {
  const wishes = wishesOf(discovery);
  const unmet = wishes.find(({ isMet }) => !endpoints.some(isMet));
  if (unmet !== undefined) return `${noInstance(endpoints.length)} ${unmet.words}${insteadOf(unmet, endpoints)}`;
  const matching = endpoints.filter((endpoint) => wishes.every(({ isMet }) => isMet(endpoint)));
  if (matching.length === 0) {
    return `${noInstance(endpoints.length)} does all of it: ${wishes.map(({ words }) => words).join(", ")}`;
  }
  if (!matching.some(takesRequests)) return unusableWords(matching.length, endpoints.length);
  // Left over: where each instance is in the zone, and its hints say that it is there for others.
  return `${noInstance(endpoints.length)} that takes requests is there for ${listed(discovery.zones)}, by the registry's hints`;
}

/** That instances are there, and none of them takes requests. */
export function unusableWords(matching: number, all: number): string {
  const who = matching === all ? noInstance(all) : `none of the ${matching} (of ${all}) that match`;
  return `${who} takes requests: unhealthy, or switched off (weight 0)`;
}

/** That instances are there, and none of them has a port. */
export const portlessWords = (all: number): string => `${noInstance(all)} ${portless}${portlessAdvice}`;

const portless = "has a port";
const portlessAdvice = " in the registry: say which one to use (discovery.port)";

const noInstance = (count: number) => `no instance (of ${count})`;

const listed = (names: readonly string[]) => names.slice(0, NAMED_MAX).map(quoted).join(" or ");

function wishesOf({ tags, metadata, portSpecifier, zones }: Discovery): Wish[] {
  const wishes: Wish[] = tags.map((tag) => ({
    words: `has the tag ${quoted(tag)}`,
    isMet: (endpoint) => endpoint.tags.includes(tag),
    instead: (endpoint) => endpoint.tags,
  }));
  for (const [name, value] of Object.entries(metadata)) {
    wishes.push({
      words: `has ${quoted(name)} = ${quoted(value)} in its metadata`,
      isMet: (endpoint) => endpoint.metadata[name] === value,
      instead: (endpoint) => [endpoint.metadata[name] ?? ""],
    });
  }
  if (portSpecifier.case === "portName") {
    const name = portSpecifier.value;
    wishes.push({
      words: `has a port named ${quoted(name)}`,
      isMet: ({ ports }) => (ports[name] ?? 0) !== 0,
      instead: ({ ports }) => Object.keys(ports),
    });
  } else if (portSpecifier.case === undefined) {
    wishes.push({ words: portless, isMet: ({ port }) => port !== 0, instead: portlessAdvice });
  }
  if (zones.length > 0) {
    wishes.push({
      words: `is in the zone ${listed(zones)}, or there for it`,
      isMet: ({ zone, forZones }) => [zone, ...forZones].some((each) => zones.includes(each)),
      instead: ({ zone, forZones }) => [zone, ...forZones],
    });
  }
  return wishes;
}

function insteadOf({ instead }: Wish, endpoints: readonly Endpoint[]): string {
  if (typeof instead === "string") return instead;
  const there = [...new Set(endpoints.flatMap(instead))].filter((each) => each !== "").sort();
  if (there.length === 0) return "";
  return `; there is ${there.slice(0, NAMED_MAX).map(quoted).join(", ")}${there.length > NAMED_MAX ? ", …" : ""}`;
}
