import { Agent } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { DiscoveryRig } from "../support/discovery-rig.ts";
import { ask } from "../support/http.ts";
import { type Echo, startUpstream, type Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";
import { type BenchRegistry, benchRegistries } from "./discovery-registries.ts";

const SAMPLES = 200;
const CHANGES_PER_SECOND = 100;
/** The services that change besides the one that is measured, all of them watched. */
const OTHERS = 20;

/** From the call that changes an instance in a real registry to the first answer of the new one through the native proxy. */
export async function benchEventToRequest(): Promise<string[][]> {
  const rows: string[][] = [];
  for (const start of benchRegistries) {
    const registry = await start();
    try {
      rows.push(await measure(registry));
    } finally {
      await registry.stop();
    }
  }
  return rows;
}

async function measure(registry: BenchRegistry): Promise<string[]> {
  await using rig = await DiscoveryRig.start();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const back: Upstream[] = [];
  let churning = true;
  try {
    for (const name of ["a", "b"]) back.push(await startUpstream(name, 0, registry.address));
    const answering = async () => {
      const { status, body } = await ask(rig.port, { agent, headers: { host: "a.test" } });
      return status === 200 ? (JSON.parse(body) as Echo).upstream : String(status);
    };
    await registry.move("m", back[0]?.port ?? 0);
    await rig.apply(gateway(registry.entry));
    await waitFor("traffic", async () => (await answering()) === "a");
    let changes = 0;
    const startedMs = performance.now();
    const churn = (async () => {
      for (; churning; changes++) {
        await registry.move(`o${changes % OTHERS}`, 10_000 + (changes % 1_000));
        await sleep(Math.max(0, startedMs + (changes * 1_000) / CHANGES_PER_SECOND - performance.now()));
      }
    })();
    const samples: number[] = [];
    for (let at = 0; at < SAMPLES; at++) {
      const to = back[(at + 1) % 2];
      const askedMs = performance.now();
      const moved = registry.move("m", to?.port ?? 0);
      while ((await answering()) !== to?.name);
      samples.push(performance.now() - askedMs);
      await moved;
      await sleep(30);
    }
    churning = false;
    await churn;
    const perSecond = Math.round((changes + SAMPLES) / ((performance.now() - startedMs) / 1_000));
    samples.sort((a, b) => a - b);
    const ms = (share: number) => `${(samples[Math.ceil(samples.length * share) - 1] ?? 0).toFixed(1)} ms`;
    const what = `${registry.name} event → native proxy, ${perSecond} changes/s`;
    return [what, `p50 ${ms(0.5)}, p99 ${ms(0.99)}, max ${ms(1)}`, "p99 < 50 ms"];
  } finally {
    churning = false;
    agent.destroy();
    for (const upstream of back) await upstream.close();
  }
}

const gateway = (entry: string) => `
registries:
  - ${entry}
services:
  - name: m
    hosts: [a.test]
    upstreams:
      - { name: m, discovery: { registry: bench, service: m } }
${Array.from({ length: OTHERS }, (_, at) => `      - { name: o${at}, discovery: { registry: bench, service: o${at} } }`).join("\n")}
    routes:
      - { name: all, paths: ["/*"], upstream: m }
`;
