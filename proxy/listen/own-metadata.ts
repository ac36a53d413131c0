import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

import type { Metadata } from "#envoy/config/core/v3/base_pb.ts";

import type { Place } from "../compile.ts";

/**
 * What Envoy has no field for comes in the metadata that it carries and does not read (`filter_metadata`), under names that begin with this. Others'
 * metadata means nothing to us; an unknown word under one of our own names is refused.
 */
const OWN = "sluice.";

/** The numbers under one of our names, by word; {}: there are none. Each is a whole number that is not negative. */
export function ownNumbers<Word extends string>(
  metadata: Metadata | undefined,
  name: `sluice.${string}`,
  words: readonly Word[],
  place: Place,
): { readonly [One in Word]?: number } {
  const at = place.field("metadata").field("filter_metadata");
  for (const key of Object.keys(metadata?.filterMetadata ?? {})) {
    if (key.startsWith(OWN) && key !== name) at.field(`["${key}"]`).refuse(`only ${name} has a meaning here`);
  }
  const found: { [One in Word]?: number } = {};
  const fields: JsonObject = metadata?.filterMetadata[name] ?? {};
  for (const [word, value] of Object.entries(fields)) {
    const known = words.find((one) => one === word);
    const where = at.field(`["${name}"]`).field(word);
    if (known === undefined) where.refuse(`is not one of ${words.join(", ")}`);
    else if (!isCount(value)) where.refuse("must be a whole number, 0 or more");
    else found[known] = value;
  }
  return found;
}

const isCount = (value: JsonValue): value is number =>
  typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
