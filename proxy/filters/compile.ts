import { type Any, anyUnpack } from "@bufbuild/protobuf/wkt";

import { RouterSchema } from "#envoy/extensions/filters/http/router/v3/router_pb.ts";
import { GrpcWebSchema } from "#envoy/extensions/filters/http/grpc_web/v3/grpc_web_pb.ts";
import type { HttpFilter } from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";

import type { Place } from "../compile.ts";
import type { FilterFactory } from "./filter.ts";
import { grpcWeb } from "./grpc-web.ts";

/** Each HTTP filter by the type of its configuration. */
const factories: ReadonlyMap<string, () => FilterFactory> = new Map([[GrpcWebSchema.typeName, () => grpcWeb]]);

/**
 * Compiles HttpConnectionManager.http_filters, in request order; undefined: there are none before the router. The chain ends with the
 * router; what is optional and unknown is left out (proxy-parity 1, rule 4).
 */
export function compileFilters(filters: readonly HttpFilter[], place: Place): readonly FilterFactory[] | undefined {
  const chain: FilterFactory[] = [];
  const last = filters.length - 1;
  if (last < 0) place.field("http_filters").refuse("must end with the router");
  filters.forEach((filter, index) => {
    const at = place.item("http_filters", index);
    const any = filter.configType.case === "typedConfig" ? filter.configType.value : undefined;
    const typeName = any?.typeUrl.slice(any.typeUrl.lastIndexOf("/") + 1) ?? "";
    const isRouter = typeName === RouterSchema.typeName;
    if (isRouter && index < last) at.refuse("the router must be the last filter");
    if (isRouter) {
      refuseStats(any, at);
      if (filter.disabled) at.field("disabled").refuse("the router cannot be disabled");
      return;
    }
    const create = factories.get(typeName);
    if (index === last) at.refuse("the last filter must be the router");
    else if (create !== undefined) chain.push({ ...create(), name: filter.name, disabled: filter.disabled });
    else if (!filter.isOptional) at.refuse(`the filter ${JSON.stringify(filter.name)} is not supported`);
  });
  return chain.length === 0 ? undefined : chain;
}

/** The router's statistics can't be switched off here. */
function refuseStats(config: Any | undefined, place: Place): void {
  const router = config && anyUnpack(config, RouterSchema);
  if (router?.dynamicStats === false)
    place.field("typed_config").field("dynamic_stats").refuse("only true is supported");
}
