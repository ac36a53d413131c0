import type { MetricsRegistry } from "./metrics.ts";

/** When a certificate expires. */
interface Expiry {
  readonly gatewayGroup: string;
  readonly name: string;
  readonly expiry: Date;
}

/** Adds what alerts on certificates that are about to expire need; `read` is asked each time somebody looks. */
export function certificateMetrics(metrics: MetricsRegistry, read: () => Iterable<Expiry>): void {
  const options = {
    name: "sluice_certificate_expiry_timestamp_seconds",
    help: "When a certificate, or the first of its chain, expires, in seconds since 1970.",
    labels: ["gateway_group", "certificate"],
  };
  metrics.observeEach(options, function* () {
    for (const { gatewayGroup, name, expiry } of read()) {
      yield { labels: [gatewayGroup, name], value: expiry.getTime() / 1000 };
    }
  });
}
