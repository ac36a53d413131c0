import { create } from "@bufbuild/protobuf";
import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";

import { type WatchRequest, type WatchResponse, WatchResponseSchema } from "#sluice/admin/v1/gateway_service_pb.ts";

import type { Logger } from "../observe/logger.ts";
import type { Gauge } from "../observe/metrics.ts";
import type { Store } from "../store/store.ts";
import { type Deliver, delivery } from "./deliver.ts";
import { transactionMessage } from "./transactions.ts";
import { Wake } from "./wake.ts";

/** Transactions read at once while a watcher catches up. */
const BATCH = 64;

/** Watches that may be open at once. */
const WATCHES_MAX = 1_000;

/** What bounds the watches of one control plane. */
export interface WatchLimits {
  readonly watchesMax?: number;
  readonly stalledMsMax?: number;
}

/** The watches of one control plane. */
export class Watches {
  readonly #store: Store;
  readonly #open: Gauge;
  readonly #deliver: Deliver;
  readonly #watchesMax: number;
  #count = 0;

  constructor(store: Store, open: Gauge, log: Logger, limits: WatchLimits = {}) {
    this.#store = store;
    this.#open = open;
    this.#deliver = delivery(log, limits.stalledMsMax);
    this.#watchesMax = limits.watchesMax ?? WATCHES_MAX;
  }

  /**
   * Yields the revision that the watch starts after, then each transaction after it, until the call ends. A watcher costs no queue: it
   * reads on from the store at its own pace. One that stops reading is cut off, and finds where it was by the last revision it read.
   * @throws ConnectError RESOURCE_EXHAUSTED when there are too many watches; StoreError "out_of_range" for a revision that
   *   isn't there yet
   */
  async *watch(
    request: WatchRequest,
    context: Pick<HandlerContext, "signal" | "values">,
  ): AsyncGenerator<WatchResponse> {
    const { signal } = context;
    if (this.#count >= this.#watchesMax) {
      throw new ConnectError(`${this.#count} watches are open already; try again later`, Code.ResourceExhausted);
    }
    const wake = new Wake(signal);
    const stop = this.#store.subscribe(() => wake.now());
    this.#count += 1;
    this.#open.set(this.#count);
    try {
      let seen = request.afterRevision ?? (await this.#store.revision());
      let batch = await this.#store.transactionsAfter(seen, BATCH);
      yield* this.#deliver(create(WatchResponseSchema, { revision: seen }), context);
      while (!signal.aborted) {
        for (const transaction of batch) {
          seen = transaction.revision;
          const message = transactionMessage(transaction, request.gatewayGroup);
          // A group's watcher isn't told of the others; the revision of its next message shows that time passed.
          if (message.changes.length === 0) continue;
          yield* this.#deliver(message, context);
        }
        if (batch.length === 0) await wake.wait();
        batch = await this.#store.transactionsAfter(seen, BATCH);
      }
      // Tells a watcher of a control plane that shuts down to look for another one.
      signal.throwIfAborted();
    } finally {
      stop();
      wake.close();
      this.#count -= 1;
      this.#open.set(this.#count);
    }
  }
}
