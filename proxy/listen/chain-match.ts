import type { CidrRange } from "#envoy/config/core/v3/address_pb.ts";
import {
  type FilterChainMatch,
  FilterChainMatch_ConnectionSourceType as SourceType,
} from "#envoy/config/listener/v3/listener_components_pb.ts";

import type { Place } from "../compile.ts";
import { addressBytes, contains, type IpPrefix, isLoopbackAddress, prefixKey } from "./ip-prefix.ts";

/** What is known of a connection when its filter chain is chosen. */
export interface ConnectionFacts {
  readonly destinationAddress: string;
  readonly destinationPort: number;
  /** Of TLS's server_name, lower case; "" without any. */
  readonly serverName: string;
  readonly transportProtocol: "tls" | "raw_buffer";
  /** What the client offers, in its order. */
  readonly applicationProtocols: readonly string[];
  /** The peer of the socket. */
  readonly directSourceAddress: string;
  /** The client, which a PROXY header may have named. */
  readonly sourceAddress: string;
  readonly sourcePort: number;
}

/** One step of the choice: which keys a chain has there, and which of the keys that are there a connection takes. */
interface Step {
  readonly keys: (match: FilterChainMatch, place: Place) => readonly Key[];
  readonly choose: (branch: Branch<unknown>, facts: ConnectionFacts) => unknown;
}

/** "" matches anything. */
type Key = string | PrefixKey;
interface PrefixKey {
  readonly prefix: IpPrefix;
}

/** Where chains part. */
class Branch<Chain> {
  readonly children = new Map<string, Branch<Chain> | Chain>();
  /** The keys that are ranges of addresses, the longest first. */
  readonly prefixes: { readonly prefix: IpPrefix; readonly key: string }[] = [];

  child(key: Key, make: () => Branch<Chain> | Chain): Branch<Chain> | Chain {
    const text = typeof key === "string" ? key : prefixKey(key.prefix);
    let found = this.children.get(text);
    if (found === undefined) {
      found = make();
      this.children.set(text, found);
      if (typeof key !== "string") {
        this.prefixes.push({ prefix: key.prefix, key: text });
        this.prefixes.sort((a, b) => b.prefix.length - a.prefix.length);
      }
    }
    return found;
  }
}

/** A text that any connection without a better one takes, or "" if there is none such. */
const exactOrAny = (branch: Branch<unknown>, key: string) => branch.children.get(key) ?? branch.children.get("");

function byAddress(branch: Branch<unknown>, address: string): unknown {
  const bytes = branch.prefixes.length === 0 ? undefined : addressBytes(address);
  if (bytes !== undefined) {
    for (const { prefix, key } of branch.prefixes) if (contains(prefix, bytes)) return branch.children.get(key);
  }
  return branch.children.get("");
}

function byServerName({ children }: Branch<unknown>, serverName: string): unknown {
  const exact = children.get(serverName);
  if (exact !== undefined) return exact;
  for (let dot = serverName.indexOf("."); dot >= 0; dot = serverName.indexOf(".", dot + 1)) {
    const found = children.get(`*${serverName.slice(dot)}`);
    if (found !== undefined) return found;
  }
  return children.get("");
}

function byApplicationProtocol({ children }: Branch<unknown>, offered: readonly string[]): unknown {
  for (const protocol of offered) {
    const found = protocol === "" ? undefined : children.get(protocol);
    if (found !== undefined) return found;
  }
  return children.get("");
}

function bySourceType({ children }: Branch<unknown>, { sourceAddress, destinationAddress }: ConnectionFacts): unknown {
  if (children.size === 1 && children.has("")) return children.get("");
  const source = addressBytes(sourceAddress);
  const local =
    source !== undefined && (isLoopbackAddress(source) || sameAddress(source, addressBytes(destinationAddress)));
  return children.get(local ? "local" : "external") ?? children.get("");
}

const sameAddress = (a: Uint8Array, b: Uint8Array | undefined) => b !== undefined && Buffer.compare(a, b) === 0;

/** Most chains leave a criterion out, which means: anything. */
const orAny = (keys: readonly Key[]): readonly Key[] => (keys.length === 0 ? [""] : keys);

const sourceTypes: Readonly<Record<SourceType, string>> = {
  [SourceType.ANY]: "",
  [SourceType.SAME_IP_OR_LOOPBACK]: "local",
  [SourceType.EXTERNAL]: "external",
};

/**
 * Envoy's steps in Envoy's order (FilterChainMatch). At each the most specific key wins, and there is no way back: if nothing fits further
 * on, a less specific key of an earlier step isn't tried (FilterChainManagerImpl).
 */
const steps: readonly Step[] = [
  {
    keys: ({ destinationPort }) => [destinationPort === undefined ? "" : String(destinationPort)],
    choose: (branch, { destinationPort }) => exactOrAny(branch, String(destinationPort)),
  },
  {
    keys: ({ prefixRanges }, place) => orAny(compilePrefixes(prefixRanges, "prefix_ranges", place)),
    choose: (branch, { destinationAddress }) => byAddress(branch, destinationAddress),
  },
  {
    keys: ({ serverNames }, place) =>
      orAny(serverNames.map((name, index) => serverNameKey(name, place.item("server_names", index)))),
    choose: (branch, { serverName }) => byServerName(branch, serverName),
  },
  {
    keys: ({ transportProtocol }) => [transportProtocol],
    choose: (branch, { transportProtocol }) => exactOrAny(branch, transportProtocol),
  },
  {
    keys: ({ applicationProtocols }) => orAny(applicationProtocols),
    choose: (branch, { applicationProtocols }) => byApplicationProtocol(branch, applicationProtocols),
  },
  {
    keys: ({ directSourcePrefixRanges }, place) =>
      orAny(compilePrefixes(directSourcePrefixRanges, "direct_source_prefix_ranges", place)),
    choose: (branch, { directSourceAddress }) => byAddress(branch, directSourceAddress),
  },
  {
    keys: ({ sourceType }) => [sourceTypes[sourceType] ?? ""],
    choose: bySourceType,
  },
  {
    keys: ({ sourcePrefixRanges }, place) => orAny(compilePrefixes(sourcePrefixRanges, "source_prefix_ranges", place)),
    choose: (branch, { sourceAddress }) => byAddress(branch, sourceAddress),
  },
  {
    keys: ({ sourcePorts }) => orAny(sourcePorts.map(String)),
    choose: (branch, { sourcePort }) => exactOrAny(branch, String(sourcePort)),
  },
];

/** Where the step for server names is in the list. */
const SERVER_NAME_STEP = 2;

/** Finds the filter chain of a connection. */
export class ChainTable<Chain extends object> {
  readonly #root = new Branch<Chain>();
  /** The chains by the server names in their matches. */
  readonly #named = new Branch<readonly Chain[]>();

  /** Adds a chain; a match that another chain has, too, is a problem. */
  add(match: FilterChainMatch, chain: Chain, place: Place): void {
    const problemsBefore = place.problems.length;
    const keys = steps.map((step) => [...new Set(step.keys(match, place))]);
    if (place.problems.length > problemsBefore) return;
    this.#insert(this.#root, keys, 0, chain, place);
    for (const name of keys[SERVER_NAME_STEP] as readonly string[]) {
      if (name !== "") this.#named.children.set(name, [...(this.chainNamed(name) ?? []), chain]);
    }
  }

  #insert(branch: Branch<Chain>, keys: readonly (readonly Key[])[], depth: number, chain: Chain, place: Place): void {
    const isLast = depth === keys.length - 1;
    for (const key of keys[depth] ?? []) {
      const next = branch.child(key, () => (isLast ? chain : new Branch<Chain>()));
      if (next instanceof Branch) this.#insert(next, keys, depth + 1, chain, place);
      else if (next !== chain) place.refuse("another filter chain has the same match");
    }
  }

  /** The chains whose matches have this server name, or the longest wildcard for it; undefined: no chain does. */
  chainNamed(serverName: string): readonly Chain[] | undefined {
    return byServerName(this.#named, serverName) as readonly Chain[] | undefined;
  }

  /** Undefined: none fits. */
  find(facts: ConnectionFacts): Chain | undefined {
    let at: unknown = this.#root;
    for (const { choose } of steps) {
      if (!(at instanceof Branch)) return undefined;
      at = choose(at, facts);
    }
    return at as Chain | undefined;
  }
}

function serverNameKey(name: string, place: Place): string {
  const lower = name.toLowerCase();
  if (lower === "" || lower.slice(lower.startsWith("*.") ? 1 : 0).includes("*") || lower === "*.") {
    place.refuse(`${JSON.stringify(name)}: a name, or "*." and a name, is supported`);
  }
  return lower;
}

function compilePrefixes(ranges: readonly CidrRange[], field: string, place: Place): readonly PrefixKey[] {
  return ranges.flatMap(({ addressPrefix, prefixLen = 0 }, index) => {
    const bytes = addressBytes(addressPrefix);
    if (bytes !== undefined && prefixLen <= bytes.length * 8) return [{ prefix: { bytes, length: prefixLen } }];
    place
      .item(field, index)
      .refuse(`${JSON.stringify(`${addressPrefix}/${prefixLen}`)} is not a range of IP addresses`);
    return [];
  });
}
