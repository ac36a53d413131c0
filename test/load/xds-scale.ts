/** What a gateway of many services costs: its first sync, and a change of one service, at two sizes side by side. */
import { setTimeout as sleep } from "node:timers/promises";

import { ControlPlane, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { waitFor } from "../support/wait.ts";
import { peakMb, residentMb } from "./cpu.ts";
import { instructionsOf } from "./instructions.ts";
import { table } from "./table.ts";

const SIZES = [1_000, 10_000];
const ENDPOINTS = 10;
const ROUTES = 5;
/** So many that a major collection among them, which takes as much as dozens of changes, weighs little. */
const CHANGES = 500;
const CHANGES_TO_WARM = 100;
/** Between changes, so that each goes its way alone. */
const PAUSE_MS = 60;

/** Until what follows a start is done. */
const PAUSE_AFTER_START_MS = 5_000;

const MILLION = 1e6;

/** A service with hosts, routes and endpoints of its own. */
const service = (at: number, body: string, port = 80) => ({
  name: `s${at}`,
  hosts: [`s${at}.test`],
  upstreams: [
    {
      name: "default",
      nodes: Array.from({ length: ENDPOINTS }, (_, n) => ({ host: `10.${at >> 8}.${at & 255}.${n + 1}`, port })),
    },
  ],
  routes: [
    { name: "answer", paths: ["/answer"], directResponse: { status: 200, body } },
    ...Array.from({ length: ROUTES - 1 }, (_, n) => ({
      name: `r${n}`,
      paths: [`/api/v${n}/*`],
      methods: ["GET", "POST"],
    })),
  ],
});

interface Measured {
  readonly applyMs: number;
  readonly applyMb: number;
  /** From the control plane's exec until it serves all that is stored. */
  readonly controlPlaneMs: number;
  /** From the exec of a fresh proxy until it answers for the last service, beside a control plane that serves. */
  readonly firstSyncMs: number;
  readonly controlPlaneMb: number;
  readonly proxyMb: number;
  /** At its first sync. */
  readonly proxyPeakMb: number;
  /** Once each service's host was asked for: what is compiled and made on demand is there. */
  readonly proxyAllMb: number;
  /** Instructions of one change, in millions. */
  readonly changes: readonly { readonly what: string; readonly controlPlane: number; readonly proxy: number }[];
}

/** Prints a table with ratios: `npm run bench -- scale`. */
export async function benchScale(): Promise<void> {
  const [small, large] = [await measure(SIZES[0] ?? 0), await measure(SIZES[1] ?? 0)];
  const rows: readonly (readonly [string, number, number])[] = [
    ["apply of everything, ms", small.applyMs, large.applyMs],
    ["the same, control plane, MB", small.applyMb, large.applyMb],
    ["control plane: from its start until it serves, ms", small.controlPlaneMs, large.controlPlaneMs],
    ["fresh proxy: from its start to its first answer, ms", small.firstSyncMs, large.firstSyncMs],
    ["control plane, MB", small.controlPlaneMb, large.controlPlaneMb],
    ["proxy (1 worker), MB", small.proxyMb, large.proxyMb],
    ["the same, at most", small.proxyPeakMb, large.proxyPeakMb],
    ["the same, once each host was asked for, MB", small.proxyAllMb, large.proxyAllMb],
    ...large.changes.flatMap(({ what, controlPlane, proxy }, at): [string, number, number][] => [
      [`${what}: control plane, million instructions`, small.changes[at]?.controlPlane ?? 0, controlPlane],
      [`${what}: proxy, million instructions`, small.changes[at]?.proxy ?? 0, proxy],
    ]),
  ];
  const text = table(
    ["", ...SIZES.map((size) => `${size} services`), "ratio"],
    rows.map(([what, a, b]) => [
      what,
      ...[a, b].map((value) => value.toFixed(value < 100 ? 1 : 0)),
      (b / a).toFixed(2),
    ]),
  );
  console.log(text);
}

async function measure(services: number): Promise<Measured> {
  const dir = await temporaryDir();
  await using stack = new AsyncDisposableStack();
  stack.defer(() => dir.remove());
  const port = await freePort();
  const gateway = {
    gatewayGroups: [{ name: "default", listeners: [{ name: "http", port }] }],
    services: Array.from({ length: services }, (_, at) => service(at, "0")),
  };
  const first = await ControlPlane.start(`${dir.path}/data`);
  const applyMs = await timed(() => first.call("GatewayService/Apply", { gateway }));
  const applyMb = residentMb(first.program.pid);
  await first.program.stop();

  const answers = (at: number, body: string) => async () =>
    (await ask(port, { path: "/answer", headers: { host: `s${at}.test` } }).catch(() => undefined))?.body === body;
  const xdsPort = await freePort();
  const startedAt = performance.now();
  const control = await ControlPlane.start(`${dir.path}/data`, { xdsPort });
  const controlPlaneMs = performance.now() - startedAt;
  stack.defer(() => control.program.stop());
  // What comes after a start; the proxy is to be measured by itself.
  await sleep(PAUSE_AFTER_START_MS);
  const proxyStartedAt = performance.now();
  const proxy = await startProxy(xdsPort, { data: `${dir.path}/proxy` });
  stack.defer(() => proxy.program.stop());
  await waitFor("the first sync", answers(services - 1, "0"), 120_000);
  const firstSyncMs = performance.now() - proxyStartedAt;
  const pids = { controlPlane: control.program.pid, proxy: proxy.program.pid };
  // Such as the snapshot on disk.
  await sleep(PAUSE_AFTER_START_MS);
  const sizes = {
    controlPlaneMb: residentMb(pids.controlPlane),
    proxyMb: residentMb(pids.proxy),
    proxyPeakMb: peakMb(pids.proxy),
  };

  let round = 0;
  const changed = async (port: () => number, count: number) => {
    // Another content each time, or nothing would change.
    round++;
    for (let n = 1; n <= count; n++) {
      const at = (n * 37) % services;
      await control.call("ServiceService/UpdateService", { service: service(at, `${round}`, port()) });
      await sleep(PAUSE_MS);
    }
    await waitFor("the last change", answers((count * 37) % services, `${round}`), 60_000);
    // And what is left behind it.
    await sleep(2_000);
  };
  const idle = () => sleep(CHANGES * PAUSE_MS + 2_000);
  const kinds = [
    ["a route changes", () => 80],
    ["a route and the endpoints change", () => 1_000 + round],
  ] as const;
  // Compiled and warm from here on.
  for (const [, port] of kinds) await changed(port, CHANGES_TO_WARM);
  const changes = [];
  for (const [what, port] of kinds) {
    const resting = await bothDuring(pids, idle);
    const busy = await bothDuring(pids, () => changed(port, CHANGES));
    const cost = (of: "controlPlane" | "proxy") => (busy[of] - resting[of]) / CHANGES / MILLION;
    changes.push({ what, controlPlane: cost("controlPlane"), proxy: cost("proxy") });
  }
  for (let at = 0; at < services; at++) await ask(port, { path: "/answer", headers: { host: `s${at}.test` } });
  return { applyMs, applyMb, controlPlaneMs, firstSyncMs, ...sizes, proxyAllMb: residentMb(pids.proxy), changes };
}

/** Instructions of both programs while something happens. */
async function bothDuring(pids: { controlPlane: number; proxy: number }, work: () => Promise<unknown>) {
  let proxy = 0;
  const controlPlane = await instructionsOf(pids.controlPlane, async () => {
    proxy = await instructionsOf(pids.proxy, work);
  });
  return { controlPlane, proxy };
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}
