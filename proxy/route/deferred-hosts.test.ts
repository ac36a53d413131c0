import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { requestHead } from "../../test/support/request-head.ts";
import { DeferredHosts, SWEEP_MS } from "./deferred-hosts.ts";
import { NO_MUTATIONS } from "./header-mutations.ts";
import type { Route } from "./route.ts";

let hosts: DeferredHosts;
let compiled: string[];

beforeEach(() => {
  vi.useFakeTimers();
  hosts = new DeferredHosts();
  compiled = [];
});

afterEach(() => {
  hosts.close();
  vi.useRealTimers();
});

function host(name: string) {
  const route: Route = {
    name,
    virtualHost: name,
    mutations: NO_MUTATIONS,
    action: { kind: "direct", status: 200, body: new Uint8Array() },
  };
  return hosts.defer(() => {
    compiled.push(name);
    return { match: () => route };
  });
}

test("routes are compiled when the first request comes, and once", () => {
  const [a] = [host("a"), host("b")];
  expect(compiled).toEqual([]);
  expect(a.match(requestHead())?.name).toBe("a");
  expect(a.match(requestHead())?.name).toBe("a");
  expect(compiled).toEqual(["a"]);
  expect(hosts.compiled).toBe(1);
});

test("those that no request comes to are given up after a while, and compiled again when one does", () => {
  const [busy, quiet] = [host("busy"), host("quiet")];
  quiet.match(requestHead());
  for (let sweeps = 0; sweeps < 3; sweeps++) {
    busy.match(requestHead());
    vi.advanceTimersByTime(SWEEP_MS);
  }
  expect(hosts.compiled).toBe(1);
  expect(busy.match(requestHead())?.name).toBe("busy");
  expect(compiled).toEqual(["quiet", "busy"]);
  expect(quiet.match(requestHead())?.name).toBe("quiet");
  expect(compiled).toEqual(["quiet", "busy", "quiet"]);
});

test("one request keeps routes for at least as long as there is between two sweeps", () => {
  const a = host("a");
  a.match(requestHead());
  vi.advanceTimersByTime(SWEEP_MS - 1);
  a.match(requestHead());
  vi.advanceTimersByTime(SWEEP_MS);
  a.match(requestHead());
  expect(compiled).toEqual(["a"]);
  vi.advanceTimersByTime(2 * SWEEP_MS);
  expect(hosts.compiled).toBe(0);
});
