import { Agent } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";

import type { NacosServiceInfo } from "../../discovery/nacos/convert.ts";
import { DiscoveryRig } from "../support/discovery-rig.ts";
import { ask } from "../support/http.ts";
import { NacosApplication } from "../support/nacos-application.ts";
import { Nacos } from "../support/nacos.ts";
import type { Echo, Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const SAMPLES = 60;

/**
 * What we add to Nacos' own delay, which is about half a second: from a push that another subscriber of the same server gets to the first
 * answer of the new instance through the native proxy. Negative where our push came first.
 */
export async function benchNacosEventToRequest(): Promise<string[][]> {
  const nacos = await Nacos.start(3);
  await using rig = await DiscoveryRig.start();
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const pushedMs = new Map<number, number>();
  const subscriber = await NacosApplication.start(nacos, {}, ({ hosts }: NacosServiceInfo) => {
    for (const { port = 0 } of hosts ?? []) if (!pushedMs.has(port)) pushedMs.set(port, performance.now());
  });
  const application = await NacosApplication.start(nacos);
  try {
    const back = [await rig.upstream("a"), await rig.upstream("b")] as const;
    const answering = async () => {
      const { status, body } = await ask(rig.port, { agent, headers: { host: "a.test" } });
      return status === 200 ? (JSON.parse(body) as Echo).upstream : String(status);
    };
    const move = ({ port }: Upstream) => application.register("m", "127.0.0.1", { port });
    await move(back[0]);
    await subscriber.subscribe("m");
    await rig.apply(gateway(nacos));
    await waitFor("traffic", async () => (await answering()) === "a", 60_000);
    const added: number[] = [];
    const whole: number[] = [];
    for (let at = 0; at < SAMPLES; at++) {
      const to = back[(at + 1) % 2] ?? back[0];
      pushedMs.clear();
      const askedMs = performance.now();
      await move(to);
      while ((await answering()) !== to.name) await sleep(1);
      const answeredMs = performance.now();
      const pushed = await waitFor("the push", () => pushedMs.get(to.port));
      added.push(answeredMs - pushed);
      whole.push(answeredMs - askedMs);
    }
    return [
      ["Nacos event → native proxy", quantiles(whole), "Nacos' own 500 ms"],
      ["of which added to Nacos' push", quantiles(added), "< 50 ms"],
    ];
  } finally {
    agent.destroy();
    await application.close();
    await subscriber.close();
    await nacos.stop();
  }
}

function quantiles(samples: number[]): string {
  samples.sort((a, b) => a - b);
  const ms = (share: number) => `${(samples[Math.ceil(samples.length * share) - 1] ?? 0).toFixed(1)} ms`;
  return `p50 ${ms(0.5)}, p90 ${ms(0.9)}, max ${ms(1)}`;
}

const gateway = ({ url, username, password }: Nacos) => `
registries:
  - { name: nacos, nacos: { addresses: ["${url}"], username: ${username}, password: { value: ${password} } } }
services:
  - name: m
    hosts: [a.test]
    upstreams: [{ name: m, discovery: { registry: nacos, service: m } }]
    routes: [{ name: all, paths: ["/*"], upstream: m }]
`;
