import type { TraceContext } from "./propagation.ts";

/** A piece of a trace that ended, ready for any collector. */
export interface Span extends TraceContext {
  readonly name: string;
  readonly kind: "server" | "client";
  /** Whether it has the id of the caller's own span, as Zipkin does by default. */
  readonly shared: boolean;
  /** Wall clock, ms since 1970. */
  readonly startMs: number;
  readonly durationMs: number;
  readonly failed: boolean;
  readonly tracestate: string;
  readonly tags: readonly (readonly [name: string, value: string])[];
  readonly localAddress: string;
}
