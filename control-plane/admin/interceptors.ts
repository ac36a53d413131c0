import { Code, ConnectError, type Interceptor, type StreamResponse, type UnaryResponse } from "@connectrpc/connect";

import type { RecordCall } from "./calls.ts";
import { actorKey, readKey, requestIdKey, startTimeKey } from "./context.ts";
import { invalid, toConnectError } from "./errors.ts";
import { describeUndecodable } from "./unread.ts";
import { requestProblems } from "./validation.ts";

/** What every call passes after its caller is known, the outermost first. */
export function interceptors(record: RecordCall): Interceptor[] {
  return [observe(record), validateRequest];
}

/** Turns whatever is thrown into what the caller may know, and records the call when it has ended. */
function observe(record: RecordCall): Interceptor {
  return (next) => async (request) => {
    request.contextValues.set(readKey, true);
    const requestId = request.contextValues.get(requestIdKey);
    // Over HTTP/1.1, a caller that leaves aborts its call with an error of no kind of ours; that is nobody's failure.
    const errorOf = (cause: unknown) =>
      cause === request.signal.reason && !(cause instanceof ConnectError)
        ? new ConnectError("the caller left", Code.Canceled)
        : toConnectError(cause, requestId);
    const end = (cause?: unknown) => {
      const error = cause === undefined ? undefined : errorOf(cause);
      record({
        service: request.service.typeName,
        method: request.method.name,
        requestId,
        actor: request.contextValues.get(actorKey),
        durationMs: performance.now() - request.contextValues.get(startTimeKey),
        error,
        cause,
      });
      return error;
    };
    let response: UnaryResponse | StreamResponse;
    try {
      response = await next(request);
    } catch (error) {
      throw end(error);
    }
    if (response.stream) return { ...response, message: observed(response.message, end) };
    end();
    return response;
  };
}

/** The same messages; `end` hears once how the stream ended: by itself, by an error, or because the caller left. */
async function* observed<Item>(stream: AsyncIterable<Item>, end: (cause?: unknown) => unknown): AsyncGenerator<Item> {
  let ended = false;
  try {
    yield* stream;
  } catch (error) {
    ended = true;
    throw end(error);
  } finally {
    if (!ended) end();
  }
}

/** Refuses requests that break the rules in their .proto files. */
const validateRequest: Interceptor = (next) => async (request) => {
  if (!request.stream) {
    refuse(requestProblems(request.method.input, request.message));
    return await next(request);
  }
  const { input } = request.method;
  const message = (async function* () {
    try {
      for await (const item of request.message) {
        refuse(requestProblems(input, item));
        yield item;
      }
    } catch (error) {
      // A stream's messages are decoded as they come.
      describeUndecodable(error);
      throw error;
    }
  })();
  return await next({ ...request, message });
};

function refuse(problems: ReturnType<typeof requestProblems>): void {
  if (problems.length > 0) throw invalid(problems);
}
