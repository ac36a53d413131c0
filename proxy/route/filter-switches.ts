import type { Any } from "@bufbuild/protobuf/wkt";

import { type FilterConfig, FilterConfigSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { unpack } from "#proto/registry.ts";

import type { Place } from "../compile.ts";

/** By what the listener calls its filters: whether they take part (true) or not (false), whatever the listener says. */
export type FilterSwitches = ReadonlyMap<string, boolean>;

/**
 * Compiles a typed_per_filter_config: FilterConfig switches a filter off (`disabled`), or on where the listener has it disabled (`config: {}`). None of the filters that there
 * are has settings by route; those of an unknown filter may be there if they are optional. `outer`: what the level around says of filters
 * that this one doesn't name; undefined: nothing.
 */
export function compileFilterSwitches(
  configs: Readonly<Record<string, Any>>,
  outer: FilterSwitches | undefined,
  place: Place,
): FilterSwitches | undefined {
  const own = Object.entries(configs);
  if (own.length === 0) return outer;
  const switches = new Map(outer);
  const at = place.field("typed_per_filter_config");
  for (const [name, any] of own) {
    const unpacked = unpack(any);
    if (unpacked.kind !== "message" || unpacked.schema.typeName !== FilterConfigSchema.typeName) {
      at.refuse(`${JSON.stringify(name)}: this filter has no settings by route; only FilterConfig is supported`);
      continue;
    }
    const { config, disabled, isOptional } = unpacked.message as FilterConfig;
    if (disabled) switches.set(name, false);
    else if (config === undefined)
      at.refuse(`${JSON.stringify(name)}: config must be set unless the filter is disabled`);
    // As in Envoy: settings of no type are none, and say that the filter takes part.
    else if (config.typeUrl === "") switches.set(name, true);
    else if (!isOptional || unpack(config).kind === "message") {
      at.refuse(`${JSON.stringify(name)}: this filter has no settings by route`);
    }
  }
  return switches;
}
