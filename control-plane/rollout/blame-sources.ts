import { servedTypeByUrl } from "#proto/resource-types.ts";

import { UPSTREAM_DEFAULT } from "../model/objects.ts";
import type { Store } from "../store/store.ts";
import type { ResourceCache } from "../xds/cache.ts";
import { viewOf } from "../xds/whole-routes.ts";
import { bodyOf } from "../xds/wire.ts";
import type { Blame } from "./blame.ts";

/** What is known of resources and objects, from the cache and the store. */
export const blameFrom = (cache: Pick<ResourceCache, "resources">, store: Pick<Store, "state">): Blame => ({
  resource(group, typeUrl, name) {
    const type = servedTypeByUrl.get(typeUrl);
    // A client that takes virtual hosts one by one has nothing in its route configuration that it could refuse.
    const cached = type && cache.resources(group, viewOf(type, false))?.get(name);
    return cached && bodyOf(cached);
  },
  registryOf(group, service, upstream) {
    const { upstreams = [] } = store.state.member("service", group, service) ?? {};
    return upstreams.find(({ name }) => (name || UPSTREAM_DEFAULT) === upstream)?.discovery?.registry;
  },
});
