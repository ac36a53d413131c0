import { create, type Message } from "@bufbuild/protobuf";
import type { ServiceImpl } from "@connectrpc/connect";

import type { GatewayService, ListChangesRequest } from "#sluice/admin/v1/gateway_service_pb.ts";
import { GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";

import { memberKinds, objectKinds } from "../model/kinds.ts";
import { redacted } from "../model/redact.ts";
import type { StoreState } from "../store/mirror.ts";
import type { Store } from "../store/store.ts";
import { apply } from "./apply.ts";
import { notFound } from "./errors.ts";
import { pageSizeOf, readRevisionToken, writePageToken } from "./pages.ts";
import { transactionMessage } from "./transactions.ts";
import type { Watches } from "./watch.ts";

/** Whole gateways: applied, exported and watched. */
export function gatewayService(store: Store, watches: Watches): ServiceImpl<typeof GatewayService> {
  return {
    apply: (request, context) => apply(store, request, context),

    async export({ gatewayGroup }) {
      return { gateway: exportGateway(store.state, gatewayGroup), revision: store.state.revision };
    },

    watch: (request, context) => watches.watch(request, context),

    listChanges: (request) => listChanges(store, request),
  };
}

function exportGateway(state: StoreState, only: string) {
  const group = only === "" ? undefined : state.gatewayGroup(only);
  if (only !== "" && group === undefined) throw notFound({ kind: "gatewayGroup", gatewayGroup: only, name: only });
  const gateway = create(GatewaySchema, { gatewayGroups: group === undefined ? [...state.gatewayGroups()] : [group] });
  for (const kind of memberKinds) {
    const list: Message[] = gateway[objectKinds[kind].list];
    for (const { object } of state.entries(kind, only || undefined)) list.push(redacted(object).value);
  }
  return gateway;
}

async function listChanges(store: Store, request: ListChangesRequest) {
  const list = ["changes", request.gatewayGroup];
  const before = readRevisionToken(request.pageToken, list);
  const gatewayGroup = request.gatewayGroup === "" ? undefined : request.gatewayGroup;
  const query = { limit: pageSizeOf(request.pageSize), ...(gatewayGroup !== undefined && { gatewayGroup }) };
  const transactions = await store.transactionsBefore(before === undefined ? query : { ...query, before });
  const last = transactions.at(-1);
  // Revision 1 is the oldest. A group's page may be followed by an empty one.
  const more = last !== undefined && last.revision > 1n;
  return {
    transactions: transactions.map((transaction) => transactionMessage(transaction, request.gatewayGroup)),
    nextPageToken: more ? writePageToken(list, [last.revision.toString()]) : "",
  };
}
