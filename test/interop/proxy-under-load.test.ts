/** Many clients at once: each response belongs to its request, and a change of the configuration fails no request. */
import net from "node:net";

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { type ProxyRig, startProxyRig } from "../support/proxy-rig.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { waitFor } from "../support/wait.ts";

const SEED = Number(process.env["SLUICE_LOAD_SEED"] ?? 20261121);
const CHANGES = 200;
const PAIRED_REQUESTS = 3_000;

let rig: ProxyRig;

beforeAll(async () => {
  rig = await startProxyRig();
});

afterAll(async () => {
  expect(await rig?.stat("server.worker_crashes")).toBe(0);
  await rig?.stop();
});

/** Whole numbers below a bound, the same for the same seed. */
function numbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

test("64 connections with random sizes, delays and aborts: every response belongs to its request", async () => {
  const random = numbers(SEED);
  const load = startSteadyLoad(rig.port, 64, () => {
    const size = [0, 0, 1, 1_000, 70_000][random(5)] as number;
    const headers: Record<string, string> = {
      "x-pad": "p".repeat(random(8_000)),
      "x-test-delay-ms": String(random(4) === 0 ? random(20) : 0),
      ...(random(2) === 0 ? { "transfer-encoding": "chunked" } : { "content-length": String(size) }),
    };
    return size === 0
      ? { headers: { "x-pad": headers["x-pad"] ?? "" } }
      : { method: "POST", headers, body: "b".repeat(size) };
  });
  // Meanwhile others leave at any moment of their exchange.
  let aborted = 0;
  while (load.answered < PAIRED_REQUESTS && load.failures.length === 0) {
    await new Promise<void>((resolve) => {
      const socket = net.connect(rig.port, "127.0.0.1", () => {
        const all = `POST /abort HTTP/1.1\r\nHost: a.test\r\nX-Test-Length: 100000\r\nContent-Length: 5\r\n\r\nabcde`;
        socket.write(all.slice(0, 1 + random(all.length)));
        setTimeout(() => socket.resetAndDestroy(), random(5));
      });
      socket.on("error", () => {});
      socket.on("close", () => resolve());
    });
    aborted++;
  }
  await load.stop();
  expect(load.failures).toEqual([]);
  expect(aborted).toBeGreaterThan(10);
});

/** A change of the service or of the group; `i` makes its names unique. */
type Change = { kind: "routes" | "nodes" | "options" | "listener" | "log"; n: number };
const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom("routes", "routes", "nodes", "nodes", "options", "listener", "log"),
  n: fc.nat(1_000),
});

const service = (n: number, nodes: number, revision: number) => ({
  name: "echo",
  upstreams: [
    {
      name: "default",
      balance: (["BALANCE_ROUND_ROBIN", "BALANCE_LEAST_REQUEST", "BALANCE_RANDOM"] as const)[nodes % 3],
      nodes: rig.echoes
        .map(({ port }, at) => ({ host: "127.0.0.1", port, weight: 1 + ((nodes + at) % 4) }))
        .filter((_, at) => nodes % 3 === 2 || at === nodes % 3),
      timeouts: { request: `${20 + (n % 5)}s`, connect: `${5 + (n % 3)}s` },
      retries: n % 3,
    },
  ],
  routes: [
    { name: "all", paths: ["/*"] },
    ...Array.from({ length: n % 7 }, (_, i) => ({
      name: `extra-${n}-${i}`,
      paths: [`/extra/${n}/${i}/*`],
      methods: ["GET"],
    })),
    { name: `revision-${revision}`, paths: ["/revision"], vars: [], upstream: "default" },
  ],
});

test(`${CHANGES} changes of routes, endpoints and listeners under load fail no request`, async () => {
  const second = await freePort();
  const load = startSteadyLoad(rig.port, 16);
  let [routes, nodes] = [0, 2];
  let [listeners, log] = [1, false];
  const changes = fc.sample(change, { seed: SEED, numRuns: CHANGES });
  for (const [i, { kind, n }] of changes.entries()) {
    if (kind === "listener" || kind === "log") {
      if (kind === "listener") listeners = 3 - listeners;
      else log = !log;
      const ports = [rig.port, second].slice(0, listeners);
      await rig.admin("GatewayGroupService/UpdateGatewayGroup", {
        gatewayGroup: {
          name: "default",
          accessLog: log ? { disabled: true } : { path: "/dev/null" },
          listeners: ports.map((port, at) => ({
            name: at === 0 ? "http" : "second",
            protocol: "LISTENER_PROTOCOL_HTTP",
            address: "127.0.0.1",
            port,
          })),
        },
      });
    } else {
      if (kind === "nodes") nodes = n;
      else routes = n;
      await rig.admin("ServiceService/UpdateService", { service: service(routes, nodes, i) });
    }
    // Some changes meet each other, some arrive alone.
    const asked = load.answered;
    if (n % 2 === 0) await waitFor("traffic in between", () => load.answered > asked + 20);
  }
  // A service of another host, whose arrival shows and touches nobody.
  await rig.admin("ServiceService/CreateService", {
    service: { ...service(0, 0, CHANGES), name: "moved", pathPrefix: "/moved", hosts: ["moved.test"] },
  });
  const moved = waitFor("the last change to arrive", async () => {
    const answer = await ask(rig.port, { path: "/moved/x", headers: { host: "moved.test" } });
    return answer.body.includes('"path":"/x"');
  });
  await moved.catch(() => {});
  await load.stop();
  await moved;
  expect(load.failures).toEqual([]);
  expect(load.answered).toBeGreaterThan(CHANGES);
});
