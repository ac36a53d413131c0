import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

import type { Metadata } from "#envoy/config/core/v3/base_pb.ts";

/** Labels by key, each value as a text that is the same where the values are equal. */
export type Labels = ReadonlyMap<string, string>;

/** No label at all; shared, since most endpoints have none. */
export const NO_LABELS: Labels = new Map();

/** The labels of a Struct. */
export function labelsOf(struct: JsonObject | undefined): Labels {
  if (struct === undefined) return NO_LABELS;
  const entries = Object.entries(struct);
  return entries.length === 0 ? NO_LABELS : new Map(entries.map(([key, value]) => [key, canonical(value)]));
}

/** Whether all labels of `wanted` are there, with these values (Envoy Metadata::metadataLabelMatch). */
export function hasLabels(labels: Labels, wanted: Labels): boolean {
  for (const [key, value] of wanted) if (labels.get(key) !== value) return false;
  return true;
}

/** What decides on an endpoint's transport socket: its metadata `envoy.transport_socket_match`. */
export const transportLabels = (metadata: Metadata | undefined): Labels =>
  labelsOf(metadata?.filterMetadata["envoy.transport_socket_match"]);

/**
 * What an endpoint's metadata `envoy.lb` say: what consistent hashing is to know it by in place of its address (`hash_key`; "": nothing is said),
 * and whether it is a canary (`canary`).
 */
export function balancingMetadata(metadata: Metadata | undefined): {
  readonly hashKey: string;
  readonly canary: boolean;
} {
  const { hash_key: hashKey, canary } = metadata?.filterMetadata["envoy.lb"] ?? {};
  return { hashKey: typeof hashKey === "string" ? hashKey : "", canary: canary === true };
}

function canonical(value: JsonValue): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join()}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const keys = Object.keys(value).sort();
  return `{${keys.map((key) => `${JSON.stringify(key)}:${canonical(value[key] as JsonValue)}`).join()}}`;
}
