import { setTimeout as sleep } from "node:timers/promises";

import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";

import {
  type WatchedService,
  WatchedServiceSchema,
  type WatchServicesRequest,
  type WatchServicesResponse,
  WatchServicesResponseSchema,
} from "#sluice/admin/v1/discovery_service_pb.ts";

import type { Endpoints } from "../endpoints/endpoints.ts";
import type { Deliver } from "./deliver.ts";
import { type SelectedService, selected, serviceMessage } from "./watched-services.ts";

/** Each looks over all services again and again, so there may be few. */
const WATCHES_MAX = 32;
const LOOK_MS = 500;

/** What a watcher was told of a service. */
interface Told {
  readonly summary: string;
  readonly served: unknown;
}

/**
 * Streams of services as they change. A watcher costs no queue: it is told how things are when it is ready to hear, and loses its call if it
 * never is.
 */
export class ServiceWatches {
  readonly #endpoints: Endpoints;
  readonly #deliver: Deliver;
  #count = 0;

  constructor(endpoints: Endpoints, deliver: Deliver) {
    this.#endpoints = endpoints;
    this.#deliver = deliver;
  }

  /** Yields all services that are asked for, then what changes, until the call ends. @throws ConnectError RESOURCE_EXHAUSTED */
  async *watch(
    request: WatchServicesRequest,
    context: Pick<HandlerContext, "signal" | "values">,
  ): AsyncGenerator<WatchServicesResponse> {
    const { signal } = context;
    if (this.#count >= WATCHES_MAX) {
      throw new ConnectError(`${this.#count} watches are open already; try again later`, Code.ResourceExhausted);
    }
    this.#count++;
    try {
      const told = new Map<string, Told & { readonly gone: WatchedService }>();
      for (let isFirst = true; !signal.aborted; isFirst = false) {
        const services = this.#changes(request, told);
        if (services.length > 0 || isFirst) {
          yield* this.#deliver(create(WatchServicesResponseSchema, { services }), context);
        }
        await sleep(LOOK_MS, undefined, { signal }).catch(() => undefined);
      }
      // The caller left, or the control plane ends.
      signal.throwIfAborted();
    } finally {
      this.#count--;
    }
  }

  #changes(request: WatchServicesRequest, told: Map<string, Told & { readonly gone: WatchedService }>) {
    const changed: WatchedService[] = [];
    const seen = new Set<string>();
    for (const each of selected(this.#endpoints, request)) {
      const { gatewayGroup, registry } = each.registry;
      const { key, served } = each.report;
      const text = JSON.stringify([gatewayGroup, registry.name, key.service, key.namespace, key.group, key.cluster]);
      seen.add(text);
      const summary = summaryOf(each);
      const before = told.get(text);
      if (before?.summary === summary && before.served === served) continue;
      const gone = before?.gone ?? create(WatchedServiceSchema, { gatewayGroup, registry: registry.name, key });
      told.set(text, { summary, served, gone });
      changed.push(serviceMessage(each, request.endpoints));
    }
    for (const [text, { gone }] of told) {
      if (seen.has(text)) continue;
      told.delete(text);
      changed.push(gone);
    }
    return changed;
  }
}

const summaryOf = ({ report, users }: SelectedService) => {
  const choices = users.map(({ name, count, problem }) => [name, count, problem].join(" "));
  return [report.state, report.problem?.kind, report.problem?.message, report.held?.sinceMs, ...choices].join("\n");
};
