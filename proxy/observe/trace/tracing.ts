import { randomBytes } from "node:crypto";

import type { Headers } from "../../headers.ts";
import type { RequestHead } from "../../request.ts";
import type { RequestRecord } from "../access-log.ts";
import type { Propagation, TraceContext } from "./propagation.ts";
import { decideTrace, type SamplingOptions } from "./sampling.ts";
import type { Span } from "./span.ts";
import { failed, requestTags, responseTags, type TagMaker, upstreamTags } from "./tags.ts";

/** HttpConnectionManager.tracing, made ready for use. */
export interface TracingOptions extends SamplingOptions {
  readonly propagation: Propagation;
  /** Whether a request is recorded: by what the shares say, and what the caller says, if it says anything. */
  sampled(traced: boolean, caller: boolean | undefined): boolean;
  /** Whether our span takes the id of the caller's (Zipkin's shared_span_context). */
  readonly shareSpans: boolean;
  readonly traceIdBytes: 8 | 16;
  /** Whether the call of the upstream is a span of its own. */
  readonly upstreamSpans: boolean;
  readonly nodeId: string;
  readonly pathLengthMax: number;
  readonly tags: readonly TagMaker[];
  /** What our span is called; Zipkin's names the host. */
  spanName(head: RequestHead): string;
  report(span: Span): void;
}

/** What the rest of the data path does with a trace. */
export interface RequestTrace {
  /** Whether the shares chose the request (what traceable_filter asks). */
  readonly traced: boolean;
  readonly traceId: string;
  readonly spanId: string;
  /** Tells the upstream where it stands in the trace. `cluster`: who is called. */
  inject(headers: Headers, cluster: string): void;
  /** The request is over; what is sampled is reported. */
  finish(record: RequestRecord): void;
}

const newId = (bytes: number) => randomBytes(bytes).toString("hex");

/** Begins the trace of a request, or goes on with that which it brings. Sets the record's request id, which then tells the reason. */
export function startTrace(options: TracingOptions, head: RequestHead, record: RequestRecord): RequestTrace {
  const { traced, requestId } = decideTrace(head.headers, options, record.requestId);
  record.requestId = requestId;
  const incoming = options.propagation.extract(head.headers);
  const parent = incoming !== undefined && "traceId" in incoming ? incoming : undefined;
  const sampled = options.sampled(traced, incoming?.sampled);
  const shared = parent !== undefined && options.shareSpans;
  const tracestate = parent === undefined ? "" : (head.headers.get("tracestate") ?? "");
  const context: TraceContext & { sampled: boolean } = {
    traceId: parent?.traceId ?? newId(options.traceIdBytes),
    spanId: shared ? parent.spanId : newId(8),
    parentSpanId: shared ? parent.parentSpanId : (parent?.spanId ?? ""),
    sampled,
  };
  return new ActiveTrace(options, context, traced, { shared, tracestate, name: options.spanName(head) });
}

class ActiveTrace implements RequestTrace {
  readonly traced: boolean;
  readonly #options: TracingOptions;
  readonly #context: TraceContext & { readonly sampled: boolean };
  readonly #about: { readonly shared: boolean; readonly tracestate: string; readonly name: string };
  #upstream: { readonly context: TraceContext; readonly startedAt: number; readonly cluster: string } | undefined;

  constructor(
    options: TracingOptions,
    context: TraceContext & { readonly sampled: boolean },
    traced: boolean,
    about: { readonly shared: boolean; readonly tracestate: string; readonly name: string },
  ) {
    this.#options = options;
    this.#context = context;
    this.traced = traced;
    this.#about = about;
  }

  get traceId(): string {
    return this.#context.traceId;
  }

  get spanId(): string {
    return this.#context.spanId;
  }

  inject(headers: Headers, cluster: string): void {
    const { upstreamSpans, propagation } = this.#options;
    if (!upstreamSpans) {
      propagation.inject(headers, this.#context);
      return;
    }
    const context = { ...this.#context, spanId: newId(8), parentSpanId: this.#context.spanId };
    this.#upstream = { context, startedAt: performance.now(), cluster };
    propagation.inject(headers, context);
  }

  finish(record: RequestRecord): void {
    if (!this.#context.sampled) return;
    const { nodeId, pathLengthMax, tags } = this.#options;
    const outcome = responseTags(record);
    const custom = tags.flatMap((make) => {
      const made = make(record);
      return made === undefined ? [] : [made];
    });
    const common = {
      failed: failed(record),
      tracestate: this.#about.tracestate,
      localAddress: record.downstreamLocalAddress,
    };
    this.#options.report({
      ...common,
      ...this.#context,
      name: this.#about.name,
      kind: "server",
      shared: this.#about.shared,
      startMs: record.startMs,
      durationMs: record.endAt - record.startedAt,
      tags: [...requestTags(record, nodeId, pathLengthMax), ...outcome, ...custom],
    });
    if (this.#upstream === undefined) return;
    const { context, startedAt, cluster } = this.#upstream;
    this.#options.report({
      ...common,
      ...context,
      name: `router ${cluster} egress`,
      kind: "client",
      shared: false,
      startMs: record.startMs + startedAt - record.startedAt,
      durationMs: record.endAt - startedAt,
      tags: [...upstreamTags(record), ...outcome],
    });
  }
}
