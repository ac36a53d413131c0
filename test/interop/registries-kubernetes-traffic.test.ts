/** From a real kube-apiserver to answered requests, on the native proxy and on Envoy, while instances roll and while the API server is away. */
import { once } from "node:events";
import { writeFile } from "node:fs/promises";
import http from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";

import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { ControlPlane, startEnvoy, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { Kube } from "../support/kube.ts";
import { serviceOf } from "../support/kube-script.ts";
import { machineAddress } from "../support/machine-address.ts";
import { freePort } from "../support/ports.ts";
import { envoy } from "../support/tools.ts";
import { waitFor } from "../support/wait.ts";

let kube: Kube;
const cleanups: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  kube = await Kube.start();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
afterAll(async () => {
  await kube?.stop();
});

/** An instance that counts its requests and answers with its name. */
async function startInstance(name: string) {
  const instance = { name, requests: 0, port: 0, close: async () => {} };
  const server = http.createServer({ keepAliveTimeout: 0 }, (_, response) => {
    instance.requests++;
    response.end(name);
  });
  server.listen(0, machineAddress());
  await once(server, "listening");
  instance.port = (server.address() as AddressInfo).port;
  instance.close = async () => {
    if (!server.listening) return;
    server.close();
    server.closeAllConnections();
    await once(server, "close");
  };
  cleanups.push(instance.close);
  return instance;
}

type Instance = Awaited<ReturnType<typeof startInstance>>;

/** A slice per instance, since the ports differ. */
const sliceFor = (service: string, { name, port }: Instance, terminating = false) => ({
  metadata: { name, namespace: "default", labels: { "kubernetes.io/service-name": service } },
  addressType: "IPv4",
  ports: [{ name: "http", port }],
  endpoints: [{ addresses: [machineAddress()], conditions: { ready: !terminating, serving: true, terminating } }],
});

/** Four clients that never rest. */
function startLoad(port: number) {
  const agent = new http.Agent({ keepAlive: true, maxSockets: 4 });
  const failures: string[] = [];
  let stopped = false;
  const client = async () => {
    while (!stopped) {
      const answer = await ask(port, { path: "/", agent, headers: { host: "a.test" } }).catch((error: unknown) => ({
        status: 0,
        body: String(error),
      }));
      if (answer.status !== 200 && failures.length < 20) failures.push(`${answer.status} ${answer.body}`);
    }
  };
  const clients = Array.from({ length: 4 }, client);
  const stop = async () => {
    stopped = true;
    await Promise.all(clients);
    agent.destroy();
  };
  cleanups.push(stop);
  return { failures, stop };
}

test.each(["native", "envoy"] as const)(
  "traffic follows the endpoints without a failed request (%s)",
  async (plane) => {
    const service = `orders-${plane}`;
    const [a, b, c] = [
      await startInstance(`${plane}-a`),
      await startInstance(`${plane}-b`),
      await startInstance(`${plane}-c`),
    ];
    await kube.call("POST", "/api/v1/namespaces/default/services", serviceOf(service));
    await kube.putSlice("default", sliceFor(service, a));
    await kube.putSlice("default", sliceFor(service, b));

    const dir = await temporaryDir();
    cleanups.push(() => dir.remove());
    const controlPlane = await ControlPlane.start(join(dir.path, "data"));
    cleanups.push(() => controlPlane.program.stop());
    const port = await freePort();
    const file = join(dir.path, "gateway.yaml");
    await writeFile(
      file,
      `
gatewayGroups: [{ name: default, listeners: [{ name: http, protocol: http, address: 127.0.0.1, port: ${port} }] }]
registries: [{ name: kube, kubernetes: { kubeconfig: { file: ${await kube.kubeconfig()} } } }]
services:
  - name: orders
    hosts: [a.test]
    upstreams: [{ name: default, discovery: { registry: kube, service: ${service}, namespace: default, portName: http } }]
    routes: [{ name: all, paths: [/*] }]
`,
    );
    const applied = await controlPlane.sluice("apply", "-f", file);
    expect(applied.code).toBe(0);
    const { program } =
      plane === "native"
        ? await startProxy(controlPlane.xdsPort)
        : await startEnvoy(await envoy(), controlPlane.xdsPort);
    cleanups.push(() => program.stop());
    await waitFor(
      "an answer",
      async () => (await ask(port, { path: "/", headers: { host: "a.test" } })).status === 200,
    );

    const load = startLoad(port);
    await waitFor("both instances to answer", () => a.requests > 20 && b.requests > 20);
    // c comes, a terminates, and is switched off once nobody asks it any more.
    await kube.putSlice("default", sliceFor(service, c));
    await waitFor("the new instance to answer", () => c.requests > 20);
    await kube.putSlice("default", sliceFor(service, a, true));
    let last = -1;
    await waitFor("the terminating instance to rest", async () => {
      const until = b.requests + 200;
      await waitFor("the others to go on", () => b.requests > until);
      const rested = a.requests === last;
      last = a.requests;
      return rested;
    });
    await kube.deleteSlice("default", a.name);
    await a.close();

    // While the API server is away, all goes on.
    await kube.kill();
    const [atB, atC] = [b.requests, c.requests];
    await waitFor("traffic to go on", () => b.requests > atB + 500 && c.requests > atC + 500);
    await kube.restart();
    await kube.deleteSlice("default", c.name);
    last = -1;
    await waitFor(
      "the removed instance to rest",
      async () => {
        const until = b.requests + 200;
        await waitFor("the other to go on", () => b.requests > until);
        const rested = c.requests === last;
        last = c.requests;
        return rested;
      },
      60_000,
    );
    await load.stop();
    expect(load.failures).toEqual([]);
  },
);
