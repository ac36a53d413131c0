import type { Place } from "../compile.ts";
import { asciiLower, toWire } from "./text.ts";

/** Wildcards of one length: their text without the "*", and what they stand for. */
interface Wildcards<T> {
  readonly length: number;
  readonly byText: Map<string, T>;
}

/**
 * Finds the virtual host of a request (Envoy RouteMatcher::findVirtualHost): exact domain, then the longest suffix wildcard
 * ("*.example.com", "*-bar.example.com"), then the longest prefix wildcard ("example.*"), then "*". A wildcard stands for at least one
 * character; letters compare without case.
 */
export class Domains<T> {
  readonly #ignorePort: boolean;
  readonly #exact = new Map<string, T>();
  readonly #suffixes: Wildcards<T>[] = [];
  readonly #prefixes: Wildcards<T>[] = [];
  #any: T | undefined;

  constructor(ignorePort: boolean) {
    this.#ignorePort = ignorePort;
  }

  /** Adds a domain; one that is there already is a problem, since which of the two should win? */
  add(domain: string, value: T, place: Place): void {
    const wanted = normalDomain(domain);
    if (wanted === "") {
      place.refuse("must not be empty");
    } else if (wanted === "*") {
      if (this.#any !== undefined) place.refuse('only one "*" may be in a route configuration');
      else this.#any = value;
    } else if (wanted.startsWith("*")) {
      put(wildcardsOf(this.#suffixes, wanted.length - 1), wanted.slice(1), value, place);
    } else if (wanted.endsWith("*")) {
      put(wildcardsOf(this.#prefixes, wanted.length - 1), wanted.slice(0, -1), value, place);
    } else {
      put(this.#exact, wanted, value, place);
    }
  }

  /** Has a domain, one that add() would take, belong to a value, or to none, whatever it belonged to before. */
  set(domain: string, value: T | undefined): void {
    const wanted = normalDomain(domain);
    if (wanted === "*") this.#any = value;
    else if (wanted.startsWith("*")) assignWildcard(this.#suffixes, wanted.slice(1), value);
    else if (wanted.endsWith("*")) assignWildcard(this.#prefixes, wanted.slice(0, -1), value);
    else assign(this.#exact, wanted, value);
  }

  /** What a domain belongs to as it is written, a wildcard too. */
  get(domain: string): T | undefined {
    const wanted = normalDomain(domain);
    if (wanted === "*") return this.#any;
    if (wanted.startsWith("*")) return wildcardGet(this.#suffixes, wanted.slice(1));
    if (wanted.endsWith("*")) return wildcardGet(this.#prefixes, wanted.slice(0, -1));
    return this.#exact.get(wanted);
  }

  /** What an authority (host and optional port) belongs to. */
  find(authority: string): T | undefined {
    // Most clients send the host as it is configured, without a port.
    const asSent = this.#ignorePort && authority.includes(":") ? undefined : this.#exact.get(authority);
    if (asSent !== undefined) return asSent;
    const host = asciiLower(this.#ignorePort ? withoutPort(authority) : authority);
    const exact = this.#exact.get(host);
    if (exact !== undefined) return exact;
    for (const { length, byText } of this.#suffixes) {
      if (length >= host.length) continue;
      const found = byText.get(host.slice(host.length - length));
      if (found !== undefined) return found;
    }
    for (const { length, byText } of this.#prefixes) {
      if (length >= host.length) continue;
      const found = byText.get(host.slice(0, length));
      if (found !== undefined) return found;
    }
    return this.#any;
  }
}

/** A domain as it is compared: the bytes of a Host header, letters in lower case. */
export const normalDomain = (domain: string): string => asciiLower(toWire(domain));

function assign<T>(map: Map<string, T>, text: string, value: T | undefined): void {
  if (value === undefined) map.delete(text);
  else map.set(text, value);
}

function assignWildcard<T>(all: Wildcards<T>[], text: string, value: T | undefined): void {
  const ofLength = wildcardsOf(all, text.length);
  assign(ofLength, text, value);
  // A length that nobody has is not looked for.
  if (ofLength.size > 0) return;
  all.splice(
    all.findIndex(({ length }) => length === text.length),
    1,
  );
}

const wildcardGet = <T>(all: readonly Wildcards<T>[], text: string): T | undefined =>
  all.find(({ length }) => length === text.length)?.byText.get(text);

function put<T>(map: Map<string, T>, text: string, value: T, place: Place): void {
  if (map.has(text)) place.refuse("this domain is there already; a domain may be in a route configuration only once");
  else map.set(text, value);
}

/** The wildcards of a length, longest first. */
function wildcardsOf<T>(all: Wildcards<T>[], length: number): Map<string, T> {
  const at = all.findIndex((wildcards) => wildcards.length <= length);
  const there = all[at];
  if (there?.length === length) return there.byText;
  const made: Wildcards<T> = { length, byText: new Map() };
  all.splice(at < 0 ? all.length : at, 0, made);
  return made.byText;
}

/** The host without its port; the colons of an IPv6 address are inside brackets. */
export function withoutPort(authority: string): string {
  const colon = authority.lastIndexOf(":");
  if (colon < 0 || colon < authority.lastIndexOf("]")) return authority;
  return /^[0-9]*$/.test(authority.slice(colon + 1)) ? authority.slice(0, colon) : authority;
}
