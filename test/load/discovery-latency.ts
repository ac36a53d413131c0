import { Agent } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import { Consul } from "../support/consul.ts";
import { DiscoveryRig } from "../support/discovery-rig.ts";
import { ask } from "../support/http.ts";
import type { Echo, Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const SAMPLES = 200;
const CHANGES_PER_SECOND = 100;
/** The services that change besides the one that is measured, all of them watched. */
const OTHERS = 20;

/** From the call that changes an instance in a real Consul to the first answer of the new one through the native proxy. */
export async function benchEventToRequest(): Promise<string[][]> {
  const consul = await Consul.start();
  await using rig = await DiscoveryRig.start();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  let churning = true;
  try {
    const back = [await rig.upstream("a"), await rig.upstream("b")] as const;
    const move = (to: Upstream) => consul.register({ id: "m", name: "m", address: "127.0.0.1", port: to.port });
    const answering = async () => {
      const { status, body } = await ask(rig.port, { agent, headers: { host: "a.test" } });
      return status === 200 ? (JSON.parse(body) as Echo).upstream : String(status);
    };
    await move(back[0]);
    await rig.apply(gateway(consul.url));
    await waitFor("traffic", async () => (await answering()) === "a");
    let changes = 0;
    const startedMs = performance.now();
    const churn = (async () => {
      for (; churning; changes++) {
        const port = 10_000 + (changes % 1_000);
        await consul.register({ id: "o", name: `o${changes % OTHERS}`, address: "127.0.0.1", port });
        await sleep(Math.max(0, startedMs + (changes * 1_000) / CHANGES_PER_SECOND - performance.now()));
      }
    })();
    const samples: number[] = [];
    for (let at = 0; at < SAMPLES; at++) {
      const to = back[(at + 1) % 2] ?? back[0];
      const askedMs = performance.now();
      const moved = move(to);
      while ((await answering()) !== to.name);
      samples.push(performance.now() - askedMs);
      await moved;
      await sleep(30);
    }
    churning = false;
    await churn;
    const perSecond = Math.round((changes + SAMPLES) / ((performance.now() - startedMs) / 1_000));
    samples.sort((a, b) => a - b);
    const ms = (share: number) => `${(samples[Math.ceil(samples.length * share) - 1] ?? 0).toFixed(1)} ms`;
    const what = `Consul event → native proxy, ${perSecond} changes/s`;
    return [[what, `p50 ${ms(0.5)}, p99 ${ms(0.99)}, max ${ms(1)}`, "p99 < 50 ms"]];
  } finally {
    churning = false;
    agent.destroy();
    await consul.stop();
  }
}

const gateway = (url: string) => `
registries:
  - { name: consul, consul: { addresses: ["${url}"] } }
services:
  - name: m
    hosts: [a.test]
    upstreams:
      - { name: m, discovery: { registry: consul, service: m } }
${Array.from({ length: OTHERS }, (_, at) => `      - { name: o${at}, discovery: { registry: consul, service: o${at} } }`).join("\n")}
    routes:
      - { name: all, paths: ["/*"], upstream: m }
`;
