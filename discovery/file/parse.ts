import { isIP } from "node:net";

import { create } from "@bufbuild/protobuf";
import { isMap, isScalar, isSeq, LineCounter, type Node, parseDocument, type YAMLMap } from "yaml";

import { EndpointHealth, type Endpoint, EndpointSchema } from "#sluice/discovery/v1/snapshot_pb.ts";

import { DiscoveryError } from "../source.ts";

/** The endpoints of each service of a file. */
export type FileServices = ReadonlyMap<string, readonly Endpoint[]>;

const WEIGHT_MAX = 1_000_000;
const PORT_MAX = 65_535;

const healths: Readonly<Record<string, EndpointHealth>> = {
  healthy: EndpointHealth.HEALTHY,
  draining: EndpointHealth.DRAINING,
  unhealthy: EndpointHealth.UNHEALTHY,
};

/**
 * Reads a file of services, YAML or JSON (which is YAML):
 *
 *     services:
 *       orders:
 *         - { address: 10.0.0.1, port: 8080, weight: 2, zone: a, health: draining, tags: [v2], metadata: { team: shop } }
 *
 * @throws DiscoveryError "bad_answer" for what is wrong first, as "file:line:column: …"
 */
export function parseServices(file: string, text: string): FileServices {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines, uniqueKeys: true });
  const wrong = (node: Node | null | undefined, message: string) => {
    const { line, col } = lines.linePos(node?.range?.[0] ?? 0);
    return new DiscoveryError("bad_answer", `${file}:${line}:${col}: ${message}`);
  };
  const [error] = document.errors;
  if (error !== undefined) {
    const { line, col } = lines.linePos(error.pos[0]);
    // Its own words end with the place.
    const words = error.message.split("\n")[0]?.replace(/ at line \d+, column \d+:$/, "");
    throw new DiscoveryError("bad_answer", `${file}:${line}:${col}: ${words}`);
  }
  const reader = new Reader(wrong);
  const root = reader.map(document.contents, "the file", ["services"]);
  const services = reader.map(root.get("services", true) as Node | undefined, "services");
  return new Map(
    services.items.map(({ key, value }) => {
      const name = String(isScalar(key) ? key.value : key);
      if (!isSeq(value)) throw wrong(value as Node | null, `services.${name} must be a list of endpoints`);
      return [name, value.items.map((item) => reader.endpoint(item as Node))];
    }),
  );
}

class Reader {
  readonly #wrong: (node: Node | null | undefined, message: string) => DiscoveryError;

  constructor(wrong: (node: Node | null | undefined, message: string) => DiscoveryError) {
    this.#wrong = wrong;
  }

  /** A map, with these keys alone if any are named. */
  map(node: Node | null | undefined, what: string, keys?: readonly string[]): YAMLMap {
    if (!isMap(node)) throw this.#wrong(node, `${what} must be a map`);
    for (const { key } of node.items) {
      const name = String(isScalar(key) ? key.value : key);
      if (keys !== undefined && !keys.includes(name)) {
        throw this.#wrong(key as Node, `${what} knows no ${name}, only ${keys.join(", ")}`);
      }
    }
    return node;
  }

  endpoint(node: Node): Endpoint {
    const keys = ["address", "port", "hostname", "weight", "health", "region", "zone", "metadata", "tags"];
    const map = this.map(node, "an endpoint", keys);
    const at = (name: string) => map.get(name, true) as Node | undefined;
    const address = this.#text(at("address"), "address");
    if (isIP(address) === 0) throw this.#wrong(at("address") ?? node, "address must be an IP address");
    const weight = at("weight");
    const health = at("health");
    const healthText = health === undefined ? "healthy" : this.#text(health, "health");
    const known = healths[healthText];
    if (known === undefined) throw this.#wrong(health, `health must be one of ${Object.keys(healths).join(", ")}`);
    const port = this.#integer(at("port") ?? node, "port", 1, PORT_MAX);
    const hostname = this.#text(at("hostname"), "hostname");
    const region = this.#text(at("region"), "region");
    const zone = this.#text(at("zone"), "zone");
    return create(EndpointSchema, {
      ...{ address, port, hostname, region, zone, health: known },
      ...(weight !== undefined && { weight: this.#integer(weight, "weight", 0, WEIGHT_MAX) }),
      metadata: this.#metadata(at("metadata")),
      tags: this.#tags(at("tags")),
    });
  }

  #text(node: Node | undefined, what: string): string {
    if (node === undefined) return "";
    const value: unknown = isScalar(node) ? node.value : undefined;
    if (typeof value === "string") return value;
    if (typeof value === "number" || typeof value === "boolean") return String(value);
    throw this.#wrong(node, `${what} must be a text`);
  }

  #integer(node: Node, what: string, min: number, max: number): number {
    const value = isScalar(node) ? node.value : undefined;
    if (typeof value !== "number" || !Number.isInteger(value) || value < min || value > max) {
      throw this.#wrong(node, `${what} must be a whole number from ${min} to ${max}`);
    }
    return value;
  }

  #metadata(node: Node | undefined): Record<string, string> {
    if (node === undefined) return {};
    const map = this.map(node, "metadata");
    return Object.fromEntries(
      map.items.map(({ key, value }) => {
        const name = String(isScalar(key) ? key.value : key);
        return [name, this.#text(value as Node, `metadata.${name}`)];
      }),
    );
  }

  #tags(node: Node | undefined): string[] {
    if (node === undefined) return [];
    if (!isSeq(node)) throw this.#wrong(node, "tags must be a list");
    return node.items.map((item) => this.#text(item as Node, "a tag"));
  }
}
