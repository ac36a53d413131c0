import xxhash from "xxhash-wasm";

import type { RouteAction_HashPolicy as HashPolicy } from "#envoy/config/route/v3/route_components_pb.ts";

import { durationMs, type Place } from "../compile.ts";
import type { RequestHead } from "../request.ts";
import { headerReader, queryParameter } from "./matchers.ts";
import type { HashResult } from "./route.ts";
import { isAscii, toWire } from "./text.ts";

const hasher = await xxhash();

/** The 64-bit xxHash of wire text's bytes (Envoy HashUtil::xxHash64). */
export const xxHash64 = (text: string, seed = 0n): bigint =>
  isAscii(text) ? hasher.h64(text, seed) : hasher.h64Raw(Buffer.from(text, "latin1"), seed);

const MASK = (1n << 64n) - 1n;

/** What one policy says of a request. `cookie`: one to be set, which it made up. */
interface Evaluation {
  readonly hash: bigint | undefined;
  readonly cookie?: string;
}

const NOTHING: Evaluation = { hash: undefined };

interface Policy {
  readonly terminal: boolean;
  evaluate(head: RequestHead): Evaluation;
}

/** Compiles hash policies to one function (Envoy HashPolicyImpl::generateHash). Undefined: there are none. */
export function compileHashPolicies(
  policies: readonly HashPolicy[],
  place: Place,
): ((head: RequestHead) => HashResult) | undefined {
  const compiled: Policy[] = [];
  policies.forEach((policy, index) => {
    const evaluate = compilePolicy(policy, place.item("hash_policy", index));
    if (evaluate !== undefined) compiled.push({ terminal: policy.terminal, evaluate });
  });
  if (compiled.length === 0) return undefined;
  return (head) => {
    let hash: bigint | undefined;
    let setCookie: string | undefined;
    for (const policy of compiled) {
      const { hash: added, cookie } = policy.evaluate(head);
      setCookie ??= cookie;
      if (added !== undefined) {
        // Rotated, so that two policies of the same value don't cancel each other out.
        const old: bigint = hash === undefined ? 0n : ((hash << 1n) & MASK) | (hash >> 63n);
        hash = old ^ added;
      }
      if (policy.terminal && hash !== undefined) break;
    }
    return { hash, setCookie };
  };
}

function compilePolicy(policy: HashPolicy, place: Place): Policy["evaluate"] | undefined {
  const specifier = policy.policySpecifier;
  switch (specifier.case) {
    case "header":
      return headerHash(specifier.value.headerName);
    case "cookie":
      return cookieHash(specifier.value);
    case "connectionProperties":
      return specifier.value.sourceIp ? (head) => ({ hash: xxHash64(head.remoteAddress) }) : () => NOTHING;
    case "queryParameter": {
      const name = toWire(specifier.value.name);
      return (head) => {
        const value = queryParameter(head.path, name);
        return value === undefined ? NOTHING : { hash: xxHash64(value) };
      };
    }
    case "filterState":
      place.field("filter_state").refuse("not supported");
      return undefined;
    default:
      place.refuse("one of header, cookie, connection_properties, query_parameter must be set");
      return undefined;
  }
}

/** Several fields of the name are sorted and hashed one after the other, so that their order does not matter. */
function headerHash(name: string): Policy["evaluate"] {
  const lower = name.toLowerCase();
  const read = headerReader(lower);
  return (head) => {
    const value = read(head);
    if (value === undefined) return NOTHING;
    const { names, values } = head.headers;
    if (names.indexOf(lower) === names.lastIndexOf(lower)) return { hash: xxHash64(value) };
    const all = values.filter((_, at) => names[at] === lower).sort();
    return { hash: all.reduce((seed, one) => xxHash64(one, seed), 0n) };
  };
}

/** A cookie that is missing is made up when the policy has a ttl, and set on the response; 0 makes it a session cookie. */
function cookieHash(cookie: {
  name: string;
  ttl?: Parameters<typeof durationMs>[0];
  path: string;
  attributes: readonly { name: string; value: string }[];
}): Policy["evaluate"] {
  const ttlMs = durationMs(cookie.ttl, undefined);
  const maxAge = ttlMs === undefined || ttlMs === 0 ? "" : `; Max-Age=${Math.floor(ttlMs / 1000)}`;
  const path = cookie.path === "" ? "" : `; Path=${cookie.path}`;
  const attributes = cookie.attributes.map(({ name, value }) => (value === "" ? `; ${name}` : `; ${name}=${value}`));
  const suffix = `${maxAge}${path}${attributes.join("")}; HttpOnly`;
  return (head) => {
    const value = cookieValue(head, cookie.name);
    if (value !== "") return { hash: xxHash64(value) };
    if (ttlMs === undefined) return NOTHING;
    // Of the connection, so that requests that race on it get the same cookie (Envoy Router::Filter::addDownstreamSetCookie).
    const made = xxHash64(`${head.remoteAddress}:${head.remotePort}`).toString(16).padStart(16, "0");
    return { hash: xxHash64(made), cookie: `${cookie.name}="${made}"${suffix}` };
  };
}

/** The first cookie of the name, without quotes; "" when there is none (Envoy Utility::parseCookieValue). */
function cookieValue(head: RequestHead, name: string): string {
  const { names, values } = head.headers;
  for (let at = 0; at < names.length; at++) {
    if (names[at] !== "cookie") continue;
    for (const pair of (values[at] ?? "").split(";")) {
      const equal = pair.indexOf("=");
      if (equal < 0 || pair.slice(0, equal).trim() !== name) continue;
      const value = pair.slice(equal + 1).trim();
      return value.length >= 2 && value.startsWith('"') && value.endsWith('"') ? value.slice(1, -1) : value;
    }
  }
  return "";
}
