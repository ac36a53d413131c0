import { create, type JsonObject } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";

import { type Metadata, MetadataSchema } from "#envoy/config/core/v3/base_pb.ts";
import type { Listener } from "#sluice/model/v1/gateway_group_pb.ts";
import type { BodyRates } from "#sluice/model/v1/http_options_pb.ts";

/** What Envoy has no field for, as metadata that it carries and does not read; the native proxy does (proxy/listen/own-metadata.ts). */
function ownMetadata(name: `sluice.${string}`, words: Record<string, number | undefined>): Metadata | undefined {
  const set: JsonObject = {};
  for (const [word, value] of Object.entries(words)) if (value !== undefined) set[word] = value;
  return Object.keys(set).length === 0 ? undefined : create(MetadataSchema, { filterMetadata: { [name]: set } });
}

/** The limits of a listener's connections; undefined: there are none. */
export const toConnectionLimits = ({ maxConnections, maxConnectionsPerAddress }: Listener): Metadata | undefined =>
  ownMetadata("sluice.connections", {
    max: maxConnections || undefined,
    max_per_address: maxConnectionsPerAddress || undefined,
  });

/** The minimum rates of bodies, as far as an operator changes them; undefined: the defaults hold. */
export const toBodyRates = (rates: BodyRates | undefined): Metadata | undefined =>
  ownMetadata("sluice.body_rates", {
    request_bytes_per_second: rates?.requestBytesPerSecond,
    response_bytes_per_second: rates?.responseBytesPerSecond,
    grace_ms: rates?.grace && Math.ceil(durationMs(rates.grace)),
  });
