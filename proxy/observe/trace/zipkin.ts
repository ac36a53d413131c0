import { isIPv6 } from "node:net";

import type { Span } from "./span.ts";

/** Spans as Zipkin takes them at /api/v2/spans. */
export function encodeZipkin(spans: readonly Span[], serviceName: string): string {
  return JSON.stringify(
    spans.map((span) => ({
      traceId: span.traceId,
      id: span.spanId,
      ...(span.parentSpanId !== "" && { parentId: span.parentSpanId }),
      name: span.name,
      kind: span.kind.toUpperCase(),
      timestamp: Math.round(span.startMs * 1000),
      // "Durations less than one microsecond are rounded up to 1."
      duration: Math.max(1, Math.round(span.durationMs * 1000)),
      ...(span.shared && { shared: true }),
      localEndpoint: { serviceName, ...endpointOf(span.localAddress) },
      tags: Object.fromEntries(span.tags),
    })),
  );
}

function endpointOf(text: string) {
  const colon = text.lastIndexOf(":");
  const address = text.slice(0, colon).replace(/^\[(.*)\]$/, "$1");
  return { [isIPv6(address) ? "ipv6" : "ipv4"]: address, port: Number(text.slice(colon + 1)) };
}
