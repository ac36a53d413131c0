import { Code, ConnectError, type ServiceImpl } from "@connectrpc/connect";

import { type Health, HealthCheckResponse_ServingStatus as Status } from "#proto/gen/grpc/health/v1/health_pb.ts";

/** Streams of Health.Watch, which needs no token. */
const WATCHES_MAX = 100;

/** Whether the control plane can do its work: not before its store is read, and not any more once it drains. */
export class Readiness {
  #ready = false;
  readonly #listeners = new Set<() => void>();

  get ready(): boolean {
    return this.#ready;
  }

  set(ready: boolean): void {
    this.#ready = ready;
    for (const listener of this.#listeners) listener();
  }

  /** Returns how to stop. */
  subscribe(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /** How many listen. */
  get listeners(): number {
    return this.#listeners.size;
  }
}

/** grpc.health.v1. @param services full names of the services that may be asked for; "" is the server as a whole */
export function healthService(readiness: Readiness, services: ReadonlySet<string>): ServiceImpl<typeof Health> {
  const known = (service: string) => service === "" || services.has(service);
  const status = () => (readiness.ready ? Status.SERVING : Status.NOT_SERVING);
  return {
    async check({ service }) {
      if (!known(service)) throw new ConnectError(`there is no service ${service}`, Code.NotFound);
      return { status: status() };
    },

    async *watch({ service }, { signal }) {
      if (readiness.listeners >= WATCHES_MAX) throw new ConnectError("too many health watches", Code.ResourceExhausted);
      let wake = () => {};
      const stop = readiness.subscribe(() => wake());
      const onAbort = () => wake();
      signal.addEventListener("abort", onAbort);
      try {
        let told: Status | undefined;
        while (!signal.aborted) {
          const now = known(service) ? status() : Status.SERVICE_UNKNOWN;
          if (now !== told) {
            told = now;
            yield { status: now };
            continue;
          }
          await new Promise<void>((resolve) => {
            wake = resolve;
          });
        }
      } finally {
        stop();
        signal.removeEventListener("abort", onAbort);
      }
    },
  };
}
