import type { Headers } from "../../headers.ts";

/** Where a request stands in a trace. Ids are lower-case hexadecimal. */
export interface TraceContext {
  /** 32 digits, or 16 in B3. */
  readonly traceId: string;
  /** 16 digits. */
  readonly spanId: string;
  /** "": none is known. */
  readonly parentSpanId: string;
  /** Whether the caller records its part; undefined: it leaves that to us. */
  readonly sampled: boolean | undefined;
}

/** A way to carry the context in header fields. */
export interface Propagation {
  /** What the request brings; undefined: nothing, or nothing that can be read. `sampled` alone: a decision without a trace (B3). */
  extract(headers: Headers): TraceContext | { readonly sampled: boolean } | undefined;
  /** Tells the upstream; replaces what the client sent. */
  inject(headers: Headers, context: TraceContext & { readonly sampled: boolean }): void;
}

const TRACEPARENT = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/;
const isZero = (id: string) => /^0+$/.test(id);

/** W3C Trace Context, https://www.w3.org/TR/trace-context/; tracestate passes as it is, unless traceparent can't be read. */
export const w3c: Propagation = {
  extract(headers) {
    const parsed = TRACEPARENT.exec(headers.get("traceparent")?.trim() ?? "");
    const [, version = "", traceId = "", spanId = "", flags = "", more] = parsed ?? [];
    // Version 00 has four parts; a later one may have more; ff is forbidden.
    const readable = parsed !== null && version !== "ff" && (version !== "00" || more === undefined);
    if (!readable || isZero(traceId) || isZero(spanId)) {
      headers.remove("tracestate");
      return undefined;
    }
    return { traceId, spanId, parentSpanId: "", sampled: (Number.parseInt(flags, 16) & 1) === 1 };
  },
  inject(headers, { traceId, spanId, sampled }) {
    headers.set("traceparent", `00-${traceId.padStart(32, "0")}-${spanId}-${sampled ? "01" : "00"}`);
  },
};

const TRACE_ID = /^(?:[0-9a-f]{16}|[0-9a-f]{32})$/;
const SPAN_ID = /^[0-9a-f]{16}$/;

const decision = (text: string | undefined): boolean | undefined =>
  text === "1" || text === "d" || text === "true" ? true : text === "0" || text === "false" ? false : undefined;

/** B3 in one field or in several (https://github.com/openzipkin/b3-propagation); told on in the same way, as Envoy's Zipkin tracer does. */
export const b3: Propagation = {
  extract(headers) {
    const single = headers.get("b3");
    if (single !== undefined) {
      const [traceId = "", spanId = "", sampled, parentSpanId = ""] = single.toLowerCase().split("-");
      const only = decision(single);
      if (only !== undefined) return { sampled: only };
      return contextOf(traceId, spanId, parentSpanId, decision(sampled));
    }
    const sampled = headers.get("x-b3-flags") === "1" ? true : decision(headers.get("x-b3-sampled"));
    const lower = (name: string) => headers.get(name)?.toLowerCase() ?? "";
    const context = contextOf(lower("x-b3-traceid"), lower("x-b3-spanid"), lower("x-b3-parentspanid"), sampled);
    return context ?? (sampled === undefined ? undefined : { sampled });
  },
  inject(headers, { traceId, spanId, parentSpanId, sampled }) {
    // Who speaks in one field is answered, and followed, in one.
    if (headers.has("b3")) {
      const parent = parentSpanId === "" ? "" : `-${parentSpanId}`;
      headers.set("b3", `${traceId}-${spanId}-${sampled ? "1" : "0"}${parent}`);
      return;
    }
    headers.set("x-b3-traceid", traceId);
    headers.set("x-b3-spanid", spanId);
    if (parentSpanId === "") headers.remove("x-b3-parentspanid");
    else headers.set("x-b3-parentspanid", parentSpanId);
    headers.set("x-b3-sampled", sampled ? "1" : "0");
  },
};

function contextOf(
  traceId: string,
  spanId: string,
  parentSpanId: string,
  sampled: boolean | undefined,
): TraceContext | undefined {
  if (!TRACE_ID.test(traceId) || !SPAN_ID.test(spanId) || isZero(traceId) || isZero(spanId)) return undefined;
  return { traceId, spanId, parentSpanId: SPAN_ID.test(parentSpanId) ? parentSpanId : "", sampled };
}
