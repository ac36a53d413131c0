import type { HandlerContext } from "@connectrpc/connect";

import type { Logger } from "../observe/logger.ts";
import { cutKey, requestIdKey } from "./context.ts";

/** How long one message may wait for a watcher that doesn't read. */
const STALLED_MS_MAX = 60_000;

/** Hands a message to the watcher of a streaming call: `yield* deliver(message, context)`. */
export type Deliver = <Message>(
  message: Message,
  context: Pick<HandlerContext, "values">,
) => Generator<Message, void, unknown>;

/**
 * How watchers are handed their messages: one that doesn't take a message for `stalledMsMax` loses its call, so that it doesn't keep its
 * place among the watches for ever. The reason is for the log: who doesn't read can't be told.
 */
export const delivery = (log: Logger, stalledMsMax = STALLED_MS_MAX): Deliver =>
  function* deliver(message, { values }) {
    const timer = setTimeout(() => {
      const requestId = values.get(requestIdKey);
      log.warn({ requestId, stalledMs: stalledMsMax }, "a watcher does not read: its connection is cut");
      values.get(cutKey)();
    }, stalledMsMax);
    try {
      yield message;
    } finally {
      clearTimeout(timer);
    }
  };
