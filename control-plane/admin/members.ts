/** What the admin API does with objects that belong to gateway groups, the same for every kind. */
import type { HandlerContext } from "@connectrpc/connect";

import type { MemberKind, ValueOf } from "../model/kinds.ts";
import { keyOf, memberKey, objectOf, valueOf } from "../model/objects.ts";
import { redacted } from "../model/redact.ts";
import type { MemberPlace, StoreState } from "../store/mirror.ts";
import type { Store } from "../store/store.ts";
import type { Entry } from "../store/transaction.ts";
import {
  createObject,
  deleteObject,
  getObject,
  hasLabels,
  metadataMessage,
  updateObject,
  type WriteRequest,
} from "./objects.ts";
import { type PageRequest, pageOf } from "./pages.ts";
import { requiredObject } from "./required.ts";

/** What names an object in a request. */
interface NameRequest {
  /** Empty for the default one. */
  readonly gatewayGroup: string;
  readonly name: string;
}

/** What asks for a page of a list. */
interface ListRequest extends PageRequest {
  /** Empty for all. */
  readonly gatewayGroup: string;
  readonly labels: Readonly<Record<string, string>>;
}

/** Reads and writes objects of one kind. @param field what requests and answers call the object */
export function members<K extends MemberKind>(store: Store, kind: K, field: string) {
  const shown = (object: Entry["object"]) => valueOf(kind, redacted(object));
  const itemOf = ({ object, metadata }: Entry) => ({ value: shown(object), metadata: metadataMessage(metadata) });
  const given = (value: ValueOf<K> | undefined) => objectOf(kind, requiredObject(value, field));
  return {
    get: (request: NameRequest) => itemOf(getObject(store.state, memberKey(kind, request))),

    list(request: ListRequest) {
      const { gatewayGroup, labels } = request;
      const list = [kind, gatewayGroup, JSON.stringify(labels)];
      const { items, nextPageToken } = pageOf(
        request,
        list,
        ([afterGroup, afterName] = []) => {
          const after = afterGroup === undefined ? undefined : { gatewayGroup: afterGroup, name: afterName ?? "" };
          return matching(store.state, kind, request, after);
        },
        ({ object }) => [keyOf(object).gatewayGroup, object.value.name],
      );
      return { items: items.map(itemOf), nextPageToken };
    },

    async create(value: ValueOf<K> | undefined, request: WriteRequest, context: HandlerContext) {
      const { object, metadata } = await createObject(store, context, given(value), field, request);
      return { value: shown(object), metadata };
    },

    async update(value: ValueOf<K> | undefined, request: WriteRequest, context: HandlerContext) {
      const { object, metadata, change } = await updateObject(store, context, given(value), field, request);
      return { value: shown(object), metadata, change };
    },

    async delete(request: NameRequest & WriteRequest, context: HandlerContext) {
      return { revision: await deleteObject(store, context, memberKey(kind, request), request) };
    },
  };
}

/** By gateway group and name. */
function* matching(
  state: StoreState,
  kind: MemberKind,
  { gatewayGroup, labels }: ListRequest,
  after: MemberPlace | undefined,
): Iterable<Entry> {
  for (const entry of state.entries(kind, gatewayGroup || undefined, after)) {
    if (hasLabels(entry, labels)) yield entry;
  }
}
