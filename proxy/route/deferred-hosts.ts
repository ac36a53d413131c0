import type { Deferred } from "../compile.ts";
import type { RequestHead } from "../request.ts";
import type { HostRoutes } from "./match.ts";
import type { Route } from "./route.ts";

/** Routes that no request came to for one to two of these are given up again. */
export const SWEEP_MS = 5 * 60_000;

/**
 * Routes of virtual hosts that are compiled when the first request comes to their host, and given up when none has come for a while: compiled, a
 * route takes ten times the room that it has on the wire, and of ten thousand hosts hardly all are asked for at the same time.
 */
export class DeferredHosts {
  readonly #compiled = new Set<DeferredRoutes>();
  #timer: NodeJS.Timeout | undefined;

  /** How many are compiled now. */
  get compiled(): number {
    return this.#compiled.size;
  }

  /** Routes that `compile` makes, as often as they are needed again after they were given up; it must give equal ones each time. */
  defer(compile: Deferred<HostRoutes>): HostRoutes {
    return new DeferredRoutes(compile, this);
  }

  /** These have been compiled. */
  add(routes: DeferredRoutes): void {
    this.#compiled.add(routes);
    if (this.#timer !== undefined) return;
    this.#timer = setInterval(() => this.#sweep(), SWEEP_MS);
    this.#timer.unref();
  }

  /** Ends the sweeping. */
  close(): void {
    clearInterval(this.#timer);
  }

  #sweep(): void {
    for (const routes of this.#compiled) if (!routes.wasUsed()) this.#compiled.delete(routes);
  }
}

class DeferredRoutes implements HostRoutes {
  readonly #compile: Deferred<HostRoutes>;
  readonly #hosts: DeferredHosts;
  #routes: HostRoutes | undefined;
  #isUsed = false;

  constructor(compile: Deferred<HostRoutes>, hosts: DeferredHosts) {
    this.#compile = compile;
    this.#hosts = hosts;
  }

  match(head: RequestHead): Route | undefined {
    this.#isUsed = true;
    if (this.#routes === undefined) {
      this.#routes = this.#compile();
      this.#hosts.add(this);
    }
    return this.#routes.match(head);
  }

  /** Whether they have been used since the last call; if not, they are given up. */
  wasUsed(): boolean {
    const wasUsed = this.#isUsed;
    this.#isUsed = false;
    if (!wasUsed) this.#routes = undefined;
    return wasUsed;
  }
}
