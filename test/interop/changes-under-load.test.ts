/**
 * A gateway that changes all the time under mixed load fails no request: routes, endpoints, clusters, certificates, listeners, access log,
 * a hot restart; GET and POST over HTTP/1.1 and HTTP/2, gRPC calls, WebSockets over both. CI runs it with few changes;
 * SLUICE_CHANGES=1000 SLUICE_LOAD_CONNECTIONS=64 is the whole of it.
 *
 * An HTTP/2 request that a closing connection refuses unseen (RFC 9113, 8.7) is sent again and told, as clients do; of gRPC the library does
 * so by itself.
 *
 * The same goes for a worker in which something is thrown: it goes on until another one serves in its place, and drains then.
 */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { upstreamConfig } from "../load/nginx-configs.ts";
import { startNginx } from "../load/peers.ts";
import { TestAuthority, type TestCertificate } from "../support/certificates.ts";
import { ControlPlane, startProxy, temporaryDir } from "../support/gateway.ts";
import { type GrpcEcho, startGrpcEcho } from "../support/grpc-echo.ts";
import { type Ask, ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import type { Program } from "../support/processes.ts";
import { startSteadyGrpcLoad } from "../support/steady-grpc.ts";
import { startSteadyHttp2Load } from "../support/steady-http2.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { startSteadyWebSockets } from "../support/steady-websockets.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";
import { postEvery, startWrk } from "../support/wrk-load.ts";

const SEED = Number(process.env["SLUICE_LOAD_SEED"] ?? 20261121);
const CHANGES = Number(process.env["SLUICE_CHANGES"] ?? 150);
const CONNECTIONS = Number(process.env["SLUICE_LOAD_CONNECTIONS"] ?? 16);
/** Of each kind of load whose answers are checked. They pause, since most of the rate is the bulk's, and they share this process. */
const STEADY_CLIENTS = 4;
const PAUSE = { pauseMs: 25 };
const HOST = "a.test";
const BULK_HOST = "bulk.test";
const GRPC_HOST = "grpc.test";

const cleanup = new AsyncDisposableStack();
const authority = new TestAuthority();
let control: ControlPlane;
let proxy: { program: Program; adminPort: number };
let echoes: Upstream[];
let grpcEchoes: GrpcEcho[];
let bulkScript: string;
const bulkPorts: number[] = [];
const ports = { plain: 0, secure: 0, other: 0 };
let certificates: TestCertificate[];

beforeAll(async () => {
  cleanup.defer(() => authority[Symbol.dispose]());
  certificates = Array.from({ length: 4 }, () =>
    authority.issue({ name: HOST, altNames: [`DNS:${HOST}`, `DNS:${GRPC_HOST}`] }),
  );
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  echoes = [await startUpstream("one"), await startUpstream("two")];
  for (const echo of echoes) cleanup.defer(() => echo.close());
  grpcEchoes = [await startGrpcEcho(), await startGrpcEcho()];
  for (const echo of grpcEchoes) cleanup.defer(() => echo.close());
  bulkScript = join(dir.path, "bulk.lua");
  await writeFile(bulkScript, postEvery(4, 2_000));
  for (const name of ["bulk-one", "bulk-two"]) {
    const port = await freePort();
    bulkPorts.push(port);
    await mkdir(join(dir.path, name));
    const program = await startNginx(join(dir.path, name), upstreamConfig({ http: port }));
    cleanup.defer(() => program.stop());
    await waitFor(`${name} to be up`, async () => (await ask(port)).status === 200);
  }
  for (const name of ["plain", "secure", "other"] as const) ports[name] = await freePort();
  control = await ControlPlane.start(join(dir.path, "data"));
  cleanup.defer(() => control.program.stop());
  await control.call("CertificateService/CreateCertificate", { certificate: certificate(0) });
  await control.call("GatewayGroupService/UpdateGatewayGroup", { gatewayGroup: group(0) });
  await control.call("ServiceService/CreateService", { service: service(0, 2) });
  await control.call("ServiceService/CreateService", { service: bulk(0) });
  await control.call("ServiceService/CreateService", { service: grpc(0) });
  proxy = await startProxy(control.xdsPort, {
    workers: 2,
    data: join(dir.path, "proxy"),
    // A machine that is slow is no reason to cut anybody off.
    args: ["--drain-time", "60s"],
    env: { NODE_OPTIONS: `--import=${join(import.meta.dirname, "../support/worker-killer.ts")}` },
  });
  cleanup.defer(() => proxy.program.stop());
  await waitFor("traffic", async () => (await ask(ports.plain, { headers: { host: BULK_HOST } })).status === 200);
});

afterAll(() => cleanup.disposeAsync());

const certificate = (n: number) => {
  const { cert, key } = certificates[n % certificates.length] as TestCertificate;
  return { name: "a", certificateChain: cert, privateKey: { value: key } };
};

/** A group whose listeners, access log and TLS parameters depend on bits of `n`. */
const group = (n: number) => ({
  name: "default",
  accessLog: (n & 1) === 0 ? { disabled: true } : { path: "/dev/null" },
  listeners: [
    { name: "plain", port: ports.plain, http: { maxHeaderCount: (n & 8) === 0 ? 100 : 99 } },
    {
      ...{ name: "secure", protocol: "LISTENER_PROTOCOL_HTTPS", port: ports.secure },
      tls: { minVersion: (n & 2) === 0 ? "TLS_VERSION_TLS1_2" : "TLS_VERSION_TLS1_3" },
    },
    ...((n & 4) === 0 ? [] : [{ name: "other", port: ports.other }]),
  ],
});

const balances = ["BALANCE_ROUND_ROBIN", "BALANCE_LEAST_REQUEST", "BALANCE_RANDOM"];

/** A service whose routes depend on `n`, its cluster and endpoints on `nodes`. */
const service = (n: number, nodes: number) => ({
  name: "echo",
  hosts: [HOST],
  upstreams: [
    {
      name: "default",
      balance: balances[nodes % 3],
      nodes: echoes
        .map(({ port }, at) => ({ host: "127.0.0.1", port, weight: 1 + ((nodes + at) % 4) }))
        .filter((_, at) => nodes % 3 === 2 || at === nodes % 3),
      timeouts: { request: `${60 + (nodes % 5)}s`, connect: `${30 + (nodes % 3)}s` },
    },
  ],
  routes: [
    { name: "all", paths: ["/*"], websocket: true },
    ...Array.from({ length: n % 7 }, (_, i) => ({ name: `extra-${n}-${i}`, paths: [`/extra/${n}/${i}/*`] })),
  ],
});

/** The same for the host of the bulk of the load. */
const bulk = (n: number) => ({
  name: "bulk",
  hosts: [BULK_HOST],
  upstreams: [
    {
      name: "default",
      balance: balances[n % 3],
      nodes: bulkPorts.map((port) => ({ host: "127.0.0.1", port })).filter((_, at) => n % 3 === 2 || at === n % 3),
    },
  ],
  routes: [{ name: "all", paths: ["/*"], responseHeaders: { set: { "x-revision": String(n) } } }],
});

/** The same for gRPC. */
const grpc = (n: number) => ({
  name: "grpc",
  hosts: [GRPC_HOST],
  upstreams: [
    {
      name: "default",
      protocol: "UPSTREAM_PROTOCOL_GRPC",
      balance: balances[n % 3],
      nodes: grpcEchoes
        .map(({ port }) => ({ host: "127.0.0.1", port, weight: 1 + (n % 4) }))
        .filter((_, at) => n % 3 === 2 || at === n % 3),
    },
  ],
  routes: [{ name: "all", paths: ["/*"], responseHeaders: { set: { "x-revision": String(n) } } }],
});

type Change = { readonly kind: "routes" | "endpoints" | "bulk" | "grpc" | "certificate" | "group"; readonly n: number };
const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom("routes", "endpoints", "bulk", "grpc", "certificate", "group"),
  n: fc.nat(1_000),
});
const made = { routes: 0, endpoints: 2 };

async function make({ kind, n }: Change): Promise<void> {
  if (kind === "certificate") {
    await control.call("CertificateService/UpdateCertificate", { certificate: certificate(n) });
  } else if (kind === "group") await control.call("GatewayGroupService/UpdateGatewayGroup", { gatewayGroup: group(n) });
  else if (kind === "bulk") await control.call("ServiceService/UpdateService", { service: bulk(n) });
  else if (kind === "grpc") await control.call("ServiceService/UpdateService", { service: grpc(n) });
  else {
    made[kind] = n;
    await control.call("ServiceService/UpdateService", { service: service(made.routes, made.endpoints) });
  }
}

/** GETs, and POSTs of both framings. */
let posts = 0;
function mixed(): Ask {
  const headers = { host: HOST };
  switch (posts++ % 3) {
    case 0:
      return { headers };
    case 1:
      return { headers, method: "POST", body: "b".repeat(3_000) };
    default:
      return { headers: { ...headers, "transfer-encoding": "chunked" }, method: "POST", body: "c".repeat(70_000) };
  }
}

/** HTTP/1.1 as fast as it goes, and every other kind of request with answers that are checked. */
async function startLoads() {
  const startedAt = performance.now();
  const fast = await startWrk(ports.plain, BULK_HOST, CONNECTIONS, bulkScript);
  const ca = authority.cert;
  const resending = [
    startSteadyHttp2Load(ports.secure, HOST, ca, STEADY_CLIENTS, PAUSE),
    startSteadyWebSockets({ port: ports.secure, host: HOST, ca }, STEADY_CLIENTS, PAUSE),
  ];
  const checked = [
    startSteadyLoad(ports.plain, STEADY_CLIENTS, mixed, PAUSE),
    startSteadyGrpcLoad(ports.secure, GRPC_HOST, ca, STEADY_CLIENTS, PAUSE),
    startSteadyWebSockets({ port: ports.plain, host: HOST }, STEADY_CLIENTS, PAUSE),
    ...resending,
  ];
  return {
    /** Waits until every checked load got further. */
    async goesOn() {
      const before = checked.map(({ answered }) => answered);
      const further = () => checked.every(({ answered }, at) => answered > (before[at] ?? 0) + 8);
      await waitFor("answers", further, 60_000);
    },
    async stop() {
      await Promise.all(checked.map((load) => load.stop()));
      const { requests, refused, broken } = await fast.stop();
      const sum = (counts: readonly number[]) => counts.reduce((total, count) => total + count, 0);
      return {
        ...{ refused, broken, resent: sum(resending.map((load) => load.refused)) },
        failures: checked.flatMap(({ failures }) => failures),
        requests: requests + sum(checked.map(({ answered }) => answered)),
        seconds: (performance.now() - startedAt) / 1000,
      };
    },
  };
}

const perSecond = ({ requests, seconds }: { requests: number; seconds: number }) => Math.round(requests / seconds);

test(`${CHANGES} changes and a hot restart in their midst fail no request`, { timeout: 3_600_000 }, async () => {
  const loads = await startLoads();
  for (const [i, next] of fc.sample(change, { seed: SEED, numRuns: CHANGES }).entries()) {
    await make(next);
    // Some changes meet each other, some arrive alone.
    if (next.n % 2 === 0) await loads.goesOn();
    if (i === CHANGES >> 1) proxy.program.child.kill("SIGHUP");
  }
  await waitFor("the successor", () => proxy.program.stderr.includes("the successor serves"), 180_000);
  await waitFor("the process before it to end", () => proxy.program.stderr.includes("proxy stopped"), 120_000);
  await make({ kind: "bulk", n: 1_234 });
  await waitFor("the last change to arrive", async () => {
    const { headers } = await ask(ports.plain, { headers: { host: BULK_HOST } });
    return headers["x-revision"] === "1234";
  });
  await loads.goesOn();
  const outcome = await loads.stop();
  console.log(
    `${CHANGES} changes: ${outcome.requests} requests, ${perSecond(outcome)} a second, ${outcome.resent} resent`,
  );
  expect(outcome).toMatchObject({ failures: [], refused: 0, broken: 0 });
});

test("a worker in which something is thrown, and that is replaced, fails no request", async () => {
  const stderr = proxy.program.stderr.length;
  const successor = /"successor":(\d+)/.exec(proxy.program.stderr)?.[1];
  const since = (text: string) => proxy.program.stderr.slice(stderr).includes(text);
  const loads = await startLoads();
  await loads.goesOn();
  process.kill(Number(successor), "SIGUSR2");
  await waitFor("the crash", () => since("worker crashed; it is replaced"), 60_000);
  for (let n = 0; n < 10; n++) await make({ kind: "routes", n });
  await waitFor("the end of the worker", () => since("worker ended; it was to"), 120_000);
  await loads.goesOn();
  expect(await loads.stop()).toMatchObject({ failures: [], refused: 0, broken: 0 });
  expect(since("what waits there is lost")).toBe(false);
});
