import type { Headers } from "../../headers.ts";

/** Shares of requests that are traced, 0 to 100 (HttpConnectionManager.Tracing). */
export interface SamplingOptions {
  /** Of those that the client asks for by x-client-trace-id. */
  readonly clientPercent: number;
  readonly randomPercent: number;
  /** Of all that are to be traced. */
  readonly overallPercent: number;
}

/** Why a request is traced, as the 15th character of its id tells everyone on its way (Envoy's UUID request id extension). */
const reasons = { none: "4", sampled: "9", forced: "a", client: "b" } as const;
const REASON_AT = 14;

/** Shares are kept by hundredths of a percent. */
const PARTS = 10_000;

/**
 * Decides whether a request is traced, and writes the reason into its id, which others go by (Envoy
 * ConnectionManagerUtility::mutateTracingRequestHeader): one that carries a reason keeps it, and the others are drawn by their id, so that all
 * proxies draw alike. Without an id that can be read nothing is traced.
 */
export function decideTrace(headers: Headers, options: SamplingOptions, requestId: string | undefined) {
  if (requestId === undefined || !/^[0-9a-f]{8}-.{27}$/i.test(requestId)) return { traced: false, requestId };
  const draw = Number.parseInt(requestId.slice(0, 8), 16) % PARTS;
  const within = (percent: number) => draw < percent * 100;
  let reason = requestId.charAt(REASON_AT);
  if (reason !== reasons.sampled && reason !== reasons.forced && reason !== reasons.client) {
    if (headers.has("x-client-trace-id") && Math.random() * 100 < options.clientPercent) reason = reasons.client;
    else if (headers.has("x-envoy-force-trace")) reason = reasons.forced;
    else if (within(options.randomPercent)) reason = reasons.sampled;
    else return { traced: false, requestId };
  }
  if (!within(options.overallPercent)) reason = reasons.none;
  const id = requestId.slice(0, REASON_AT) + reason + requestId.slice(REASON_AT + 1);
  if (id !== requestId) headers.set("x-request-id", id);
  return { traced: reason !== reasons.none, requestId: id };
}
