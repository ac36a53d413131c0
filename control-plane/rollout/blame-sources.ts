import { fromBinary } from "@bufbuild/protobuf";

import { DeltaDiscoveryResponseSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";

import { UPSTREAM_DEFAULT } from "../model/objects.ts";
import type { Store } from "../store/store.ts";
import type { ResourceCache } from "../xds/cache.ts";
import type { Blame } from "./blame.ts";

/** What is known of resources and objects, from the cache and the store. */
export const blameFrom = (cache: Pick<ResourceCache, "resources">, store: Pick<Store, "state">): Blame => ({
  resource(group, typeUrl, name) {
    const cached = cache.resources(group, typeUrl)?.get(name);
    // A cached resource is one field of a response, and so a response of its own.
    return cached && fromBinary(DeltaDiscoveryResponseSchema, cached.delta).resources[0]?.resource?.value;
  },
  registryOf(group, service, upstream) {
    const { upstreams = [] } = store.state.member("service", group, service) ?? {};
    return upstreams.find(({ name }) => (name || UPSTREAM_DEFAULT) === upstream)?.discovery?.registry;
  },
});
