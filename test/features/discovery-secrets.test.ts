/** The credentials of registries are written, used, and seen nowhere: not in answers, tables, differences, recordings, metrics, errors or logs. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test, vi } from "vitest";

import { TestAuthority } from "../support/certificates.ts";
import { ControlPlane, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { ScriptedConsul } from "../support/scripted-consul.ts";
import { waitFor } from "../support/wait.ts";

// Starts programs, on a machine that may be busy.
vi.setConfig({ testTimeout: 300_000, hookTimeout: 180_000 });
const PATIENCE_MS = 60_000;

/** One of each kind; each is a part of no other word. */
const secrets = {
  consul: "token/of-consul?88",
  nacos: "password-of-nacos-88",
  mse: "secret-key-of-mse-88",
  kube: "token-of-kube-88",
  kubeconfig: "token-in-a-kubeconfig-88",
  // A line of a private key.
  key: "",
};

using authority = new TestAuthority();
const certificate = authority.issue({ name: "client" });
secrets.key = certificate.key.split("\n")[1] ?? "";

const cleanup = new AsyncDisposableStack();
let consul: ScriptedConsul;
let plane: ControlPlane;
let file: string;

const gateway = (more = "") => `
registries:
  - name: consul
    consul: { addresses: ["${consul.url}"], token: { value: "${secrets.consul}" } }${more}
  - { name: nacos, nacos: { addresses: ["http://127.0.0.1:1"], username: n, password: { value: ${secrets.nacos} } } }
  - { name: mse, nacos: { addresses: ["http://127.0.0.1:1"], accessKey: a, secretKey: { value: ${secrets.mse} } } }
  - { name: kube, kubernetes: { apiServer: { url: "https://127.0.0.1:1", token: { value: ${secrets.kube} } } } }
  - name: kubeconfig
    kubernetes:
      kubeconfig:
        value: |
          { apiVersion: v1, kind: Config, current-context: c, contexts: [{ name: c, context: { cluster: c, user: u } }],
            clusters: [{ name: c, cluster: { server: "https://127.0.0.1:1" } }],
            users: [{ name: u, user: { token: ${secrets.kubeconfig} } }] }
  - name: tls
    consul:
      addresses: ["https://127.0.0.1:1"]
      tls: { certificateChain: ${JSON.stringify(certificate.cert)}, privateKey: { value: ${JSON.stringify(certificate.key)} } }
services:
  - name: s
    upstreams:
      - { name: orders, discovery: { registry: consul, service: orders } }
      - { name: secret, discovery: { registry: consul, service: secret } }
      - { name: nacos, discovery: { registry: nacos, service: x } }
      - { name: mse, discovery: { registry: mse, service: x } }
      - { name: kube, discovery: { registry: kube, service: x, namespace: default } }
      - { name: kubeconfig, discovery: { registry: kubeconfig, service: x, namespace: default } }
      - { name: tls, discovery: { registry: tls, service: x } }
    routes: [{ name: all, paths: ["/*"], upstream: orders }]
`;

beforeAll(async () => {
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  consul = cleanup.use(await ScriptedConsul.start());
  consul.set([{ id: "one", port: 8080 }]);
  consul.denied.add("secret");
  plane = await ControlPlane.start(join(dir.path, "data"));
  cleanup.defer(() => plane.program.stop());
  file = join(dir.path, "gateway.yaml");
});
afterAll(() => cleanup.disposeAsync());

/** Which of the secrets are in a text, also encoded as in a URL. */
const found = (text: string) =>
  Object.values(secrets).filter((secret) => text.includes(secret) || text.includes(encodeURIComponent(secret)));

/** All that a command prints. */
async function printed(...args: string[]): Promise<string> {
  const { stdout, stderr } = await plane.sluice(...args);
  expect(stdout + stderr).not.toBe("");
  return stdout + stderr;
}

test("no secret of a registry comes out of the control plane", async () => {
  await writeFile(file, gateway());
  const applied = await plane.sluice("apply", "-f", file);
  expect(applied).toMatchObject({ code: 0, stderr: "" });
  const seen: string[] = [applied.stdout];
  // Even where a registry repeats the token that it refuses.
  const services = await waitFor(
    "all registries to have been asked",
    async () => {
      const text = await printed("discovery", "services");
      const states = /orders +FRESH[^]*secret +PERMISSION DENIED/.test(text) && /token \*+ lacks permission/.test(text);
      if (states && !text.includes("WAITING")) return text;
      throw new Error(text);
    },
    PATIENCE_MS,
  );
  seen.push(services);

  for (const output of ["table", "json"]) {
    seen.push(await printed("get", "registries", "-o", output), await printed("discovery", "registries", "-o", output));
    seen.push(
      await printed("discovery", "services", "-o", output),
      await printed("discovery", "problems", "-o", output),
    );
  }
  for (const name of ["consul", "nacos", "mse", "kube", "kubeconfig", "tls"]) {
    seen.push(await printed("discovery", "registries", name), await printed("discovery", "find", name));
  }
  seen.push(await printed("get", "all", "-o", "yaml"), await printed("discovery", "endpoints", "orders"));
  seen.push(await printed("discovery", "record", "--for", "1s"));

  // A difference, in a file that has other secrets, and a mistake beside them.
  await writeFile(file, gateway().replaceAll("-88", "-99").replaceAll("?88", "?99"));
  const difference = await printed("diff", "-f", file);
  expect(difference).toContain("consul");
  expect(difference).not.toMatch(/[-?]99/);
  await writeFile(file, gateway("\n    holdEmpty: nonsense"));
  const refused = await printed("apply", "-f", file);
  expect(refused).toContain("holdEmpty");
  seen.push(difference, refused);

  for (const [method, message] of [
    ["RegistryService/GetRegistry", { name: "consul" }],
    ["RegistryService/ListRegistries", {}],
    ["GatewayService/Export", {}],
    ["GatewayService/ListChanges", {}],
    ["DiscoveryService/ListWatchedRegistries", {}],
    ["DiscoveryService/ListWatchedServices", { endpoints: true }],
  ] as const) {
    seen.push(JSON.stringify(await plane.call(method, message)));
  }
  const headers = { authorization: `Bearer ${await plane.token()}` };
  seen.push((await ask(plane.adminPort, { path: "/metrics", headers })).body);
  expect(seen.flatMap(found)).toEqual([]);

  const log = plane.program.stdout + plane.program.stderr;
  expect(log).toContain("discovery: the registry fails");
  expect(found(log)).toEqual([]);
});

test("what is kept of endpoints has no secrets either", async () => {
  const saved = await waitFor(
    "the endpoints on the disk",
    async () => {
      const text = await readFile(join(plane.data, "endpoints.bin"), "latin1");
      return text.includes("orders") ? text : undefined;
    },
    PATIENCE_MS,
  );
  expect(found(saved)).toEqual([]);
});
