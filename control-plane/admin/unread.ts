import { Code, ConnectError, type HandlerContext } from "@connectrpc/connect";

import { ProblemsSchema } from "#sluice/admin/v1/common_pb.ts";

import type { RecordCall } from "./calls.ts";
import { actorKey, readKey, requestIdKey, startTimeKey } from "./context.ts";
import { toConnectError } from "./errors.ts";

/**
 * Records a call that ends before its request could be read: a single message that doesn't decode or is too large never meets the
 * interceptors. Connect ends the call's signal with the error before it writes the error, so that it can still be described.
 */
export function recordUnread({ signal, values, service, method }: HandlerContext, record: RecordCall): void {
  const onAbort = () => {
    if (values.get(readKey)) return;
    const cause: unknown = signal.reason;
    const requestId = values.get(requestIdKey);
    const error = toConnectError(cause, requestId);
    describeUndecodable(cause);
    record({
      ...{ service: service.typeName, method: method.name, requestId, actor: values.get(actorKey), error, cause },
      durationMs: performance.now() - values.get(startTimeKey),
    });
  };
  signal.addEventListener("abort", onAbort, { once: true });
}

/** Gives Connect's own INVALID_ARGUMENT, for a message that doesn't decode, the Problems detail that all others have. */
export function describeUndecodable(error: unknown): void {
  if (!(error instanceof ConnectError) || error.code !== Code.InvalidArgument || error.details.length > 0) return;
  const problem = { field: "", reason: "undecodable", message: error.rawMessage };
  error.details.push({ desc: ProblemsSchema, value: { problems: [problem] } });
}
