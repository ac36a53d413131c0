/** The Kubernetes source under its supervisor, against a real kube-apiserver with etcd and RBAC. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { create } from "@bufbuild/protobuf";
import { afterAll, afterEach, beforeAll, expect, test } from "vitest";

import { EndpointHealth, ServiceKeySchema, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import type { Credentials } from "../../discovery/kubernetes/access.ts";
import { fixedCredential, tokenFile } from "../../discovery/kubernetes/credentials.ts";
import { KubernetesSource } from "../../discovery/kubernetes/source.ts";
import { RegistrySupervisor } from "../../discovery/supervise.ts";
import { Kube } from "../support/kube.ts";
import { serviceOf, sliceOf } from "../support/kube-script.ts";
import { waitFor } from "../support/wait.ts";

let kube: Kube;
const cleanups: (() => Promise<void>)[] = [];

beforeAll(async () => {
  kube = await Kube.start();
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});
afterAll(async () => {
  await kube?.stop();
});

const admin = fixedCredential({ authorization: "Bearer admin-token" });

/** Supervises a source that watches one service, and notes everything that there would be to serve. */
function supervise(service: string, credentials: Credentials = admin, namespaces: string[] = []) {
  const served: ServiceSnapshot[] = [];
  const source = new KubernetesSource({ access: kube.access(credentials), namespaces });
  const supervisor = new RegistrySupervisor({
    source,
    holdEmptyMs: 300_000,
    events: { changed: (_, now) => void served.push(now.decode()) },
  });
  const key = create(ServiceKeySchema, { service, namespace: "default" });
  void supervisor.add(key);
  cleanups.push(() => supervisor.close());
  return {
    source,
    served,
    addresses: () => served.at(-1)?.endpoints.map(({ address }) => address),
    report: () => supervisor.report(key),
    state: () => supervisor.report(key)?.state,
  };
}

const services = "/api/v1/namespaces/default/services";

test("instances come, change, drain, flap and go", async () => {
  const orders = supervise("orders");
  await waitFor("the first answer", () => orders.state() === "unknown_service");
  await kube.call("POST", services, serviceOf("orders"));
  await waitFor("the service", () => orders.state() === "fresh");
  await kube.putSlice("default", sliceOf("orders", "orders-a", "10.0.0.1", "10.0.0.2"));
  await waitFor("two", () => orders.addresses()?.join() === "10.0.0.1,10.0.0.2");
  await kube.putSlice("default", sliceOf("orders", "orders-b", "10.0.0.3"));
  await waitFor("three", () => orders.addresses()?.length === 3);

  const draining = sliceOf("orders", "orders-b", "10.0.0.3");
  Object.assign(draining.endpoints[0] ?? {}, { conditions: { ready: false, serving: true, terminating: true } });
  await kube.putSlice("default", draining);
  await waitFor("it to drain", () => orders.served.at(-1)?.endpoints[2]?.health === EndpointHealth.DRAINING);

  for (let i = 0; i < 20; i++) {
    await kube.putSlice("default", sliceOf("orders", "orders-b", `10.0.1.${i}`));
    if (i % 3 === 0) await kube.deleteSlice("default", "orders-b");
  }
  await waitFor("the last of them", () => orders.addresses()?.join() === "10.0.0.1,10.0.0.2,10.0.1.19");
  await kube.deleteSlice("default", "orders-b");
  await kube.deleteSlice("default", "orders-a");
  // Said in the normal course, so believed at once.
  await waitFor("none", () => orders.addresses()?.length === 0);
});

test("a service account without rights is denied in the server's words, and served once it has them", async () => {
  await kube.call("POST", services, serviceOf("secret"));
  await kube.putSlice("default", sliceOf("secret", "secret-a", "10.0.0.7"));
  const account = await kube.addServiceAccount("default", "sluice");
  const token = kube.serviceAccountToken(account, 600);
  const watching = supervise("secret", fixedCredential({ authorization: `Bearer ${token}` }), ["default"]);
  await waitFor("the refusal", () => watching.state() === "permission_denied");
  expect(watching.report()?.problem?.message).toMatch(/system:serviceaccount:default:sluice.*cannot (list|watch)/);
  expect(watching.served).toEqual([]);

  const rbac = "/apis/rbac.authorization.k8s.io/v1/namespaces/default";
  await kube.call("POST", `${rbac}/roles`, {
    metadata: { name: "sluice" },
    rules: [
      { apiGroups: [""], resources: ["services"], verbs: ["list", "watch"] },
      { apiGroups: ["discovery.k8s.io"], resources: ["endpointslices"], verbs: ["list", "watch"] },
    ],
  });
  await kube.call("POST", `${rbac}/rolebindings`, {
    metadata: { name: "sluice" },
    subjects: [{ kind: "ServiceAccount", name: "sluice", namespace: "default" }],
    roleRef: { apiGroup: "rbac.authorization.k8s.io", kind: "Role", name: "sluice" },
  });
  await waitFor("the endpoints", () => watching.addresses()?.join() === "10.0.0.7");
  await waitFor("them to be fresh", () => watching.state() === "fresh");
});

test("a token that expires is shown, and its successor in the file is taken up", async () => {
  const dir = await mkdtemp(join(tmpdir(), "sluice-token-"));
  cleanups.push(() => rm(dir, { recursive: true }));
  const file = join(dir, "token");
  const account = await kube.addServiceAccount("default", "short");
  const source = new KubernetesSource({ access: kube.access(tokenFile(file)) });
  cleanups.push(() => source.close());
  const probe = () =>
    source.probe(AbortSignal.timeout(60_000)).then(
      () => "alive",
      (error: { kind: string }) => error.kind,
    );
  await waitFor("a token that is good", async () => {
    // With the minute that is granted, it is good for 5 s.
    await writeFile(file, kube.serviceAccountToken(account, -55));
    return (await probe()) === "alive";
  });
  // The server remembers good tokens for some seconds.
  await waitFor("the token to expire", async () => (await probe()) === "unauthenticated", 60_000);
  await writeFile(file, kube.serviceAccountToken(account, 600));
  await waitFor("its successor", async () => (await probe()) === "alive");
});

test("an API server that hangs shows, and what it said last is served until it goes on", async () => {
  await kube.call("POST", services, serviceOf("stopped"));
  await kube.putSlice("default", sliceOf("stopped", "stopped-a", "10.0.0.1"));
  const watching = supervise("stopped");
  await waitFor("the endpoints", () => watching.addresses()?.length === 1);
  kube.signal("SIGSTOP");
  try {
    await waitFor("the outage to show", () => watching.state() === "stale");
    expect(watching.addresses()).toEqual(["10.0.0.1"]);
  } finally {
    kube.signal("SIGCONT");
  }
  await waitFor("it to be fresh again", () => watching.state() === "fresh", 60_000);
  await kube.putSlice("default", sliceOf("stopped", "stopped-a", "10.0.0.2"));
  await waitFor("the change", () => watching.addresses()?.join() === "10.0.0.2");
  expect(watching.served.every(({ endpoints }) => endpoints.length === 1)).toBe(true);
});

test("a crash and a restart that forgot old versions cost nothing but freshness", async () => {
  await kube.call("POST", services, serviceOf("crash"));
  await kube.putSlice("default", sliceOf("crash", "crash-a", "10.0.0.1"));
  const watching = supervise("crash");
  await waitFor("the endpoints", () => watching.addresses()?.length === 1);
  await kube.putSlice("default", sliceOf("crash", "crash-a", "10.0.0.2"));
  await waitFor("the change", () => watching.addresses()?.join() === "10.0.0.2");
  await kube.compact();
  await kube.kill();
  await waitFor("the outage to show", () => watching.state() === "stale");
  await kube.restart();
  await kube.putSlice("default", sliceOf("crash", "crash-a", "10.0.0.3"));
  await waitFor("the change", () => watching.addresses()?.join() === "10.0.0.3");
  await waitFor("it to be fresh", () => watching.state() === "fresh");
  expect(watching.served.every(({ endpoints }) => endpoints.length === 1)).toBe(true);
});

test("a server that comes back with nothing is not believed at once", async () => {
  await kube.call("POST", services, serviceOf("lost"));
  await kube.putSlice("default", sliceOf("lost", "lost-a", "10.0.0.1"));
  const watching = supervise("lost");
  await waitFor("the endpoints", () => watching.addresses()?.length === 1);
  await kube.kill({ lose: true });
  await waitFor("the outage to show", () => watching.state() === "stale");
  await kube.restart();
  await waitFor("the emptiness to be held", () => watching.state() === "held", 60_000);
  expect(watching.addresses()).toEqual(["10.0.0.1"]);
  await kube.call("POST", services, serviceOf("lost"));
  await kube.putSlice("default", sliceOf("lost", "lost-a", "10.0.0.2"));
  await waitFor("the new endpoints", () => watching.addresses()?.join() === "10.0.0.2");
  await waitFor("them to be fresh", () => watching.state() === "fresh");
  expect(watching.served.every(({ endpoints }) => endpoints.length === 1)).toBe(true);
});
