import { afterEach, beforeEach, expect, test } from "vitest";

import { TestAuthority } from "../../test/support/certificates.ts";
import { KubeScript, reply, replyStatus, serviceOf, sliceOf } from "../../test/support/kube-script.ts";
import { freePort } from "../../test/support/ports.ts";
import { waitFor } from "../../test/support/wait.ts";
import { startWatching, type Watching } from "../../test/support/watching.ts";
import { DiscoveryError } from "../source.ts";

import type { Credential, Credentials } from "./access.ts";
import { KubernetesApi } from "./api.ts";
import type { ReflectTimes } from "./reflect.ts";
import { KubernetesSource } from "./source.ts";

let api: KubeScript;
let source: KubernetesSource;
let watches: Watching[] = [];

beforeEach(async () => {
  api = await KubeScript.start();
});
afterEach(async () => {
  await Promise.all(watches.map((watch) => watch.stop()));
  watches = [];
  await source.close();
  await api.close();
});

function begin(more: { credentials?: Credentials; namespaces?: string[]; reflect?: ReflectTimes } = {}): void {
  source = new KubernetesSource({
    access: api.access(more.credentials),
    ...(more.namespaces === undefined ? {} : { namespaces: more.namespaces }),
    ...(more.reflect === undefined ? {} : { times: { reflect: more.reflect } }),
  });
}

function watch(service: string, namespace = "default"): Watching {
  const watching = startWatching(source, { service, namespace });
  watches.push(watching);
  return watching;
}

const failure = async (watching: Watching) =>
  (await waitFor("the watch to fail", () => watching.error)) as DiscoveryError;

test("a client certificate that was renewed has a connection of its own, and the one before closes with what was under way", async () => {
  using authority = new TestAuthority();
  const issue = () => {
    const { cert, key } = authority.issue({ name: "sluice" });
    return { certificate: cert, key };
  };
  let pair = issue();
  api.put("services", serviceOf("orders"));
  api.put("endpointslices", sliceOf("orders", "orders-a", "10.0.0.1"));
  begin({ credentials: { get: () => Promise.resolve(pair), refused: () => {} } });
  const watching = watch("orders");
  await waitFor("the instance", () => watching.addresses?.length === 1);
  pair = issue();
  await source.probe(AbortSignal.timeout(60_000));
  await waitFor("both connections", () => api.connections === 2);
  api.put("endpointslices", sliceOf("orders", "orders-b", "10.0.0.2"));
  await waitFor("the news on the one before", () => watching.addresses?.length === 2);
  api.endWatches("endpointslices");
  api.endWatches("services");
  await waitFor("the one before to close", () => api.connections === 1);
  api.put("endpointslices", sliceOf("orders", "orders-c", "10.0.0.3"));
  await waitFor("the news", () => watching.addresses?.length === 3);
  expect(watching.error).toBeUndefined();
});

test("a source that is closed while credentials are awaited opens no connection when they come", async () => {
  const given = Promise.withResolvers<{ authorization: string }>();
  begin({ credentials: { get: () => given.promise, refused: () => {} } });
  await watch("orders").stop();
  await source.close();
  given.resolve({ authorization: "Bearer good" });
  // What comes after that has all that it needs.
  begin();
  api.put("services", serviceOf("carts"));
  const carts = watch("carts");
  await waitFor("another source", () => carts.addresses);
  expect(api.connections).toBe(1);
});

test.each([true, false])("follows services over one pair of watches (streaming lists: %s)", async (streams) => {
  api.streamsLists = streams;
  for (let i = 0; i < 120; i++) {
    api.put("services", serviceOf(`s${i}`));
    api.put("endpointslices", sliceOf(`s${i}`, `s${i}-a`, `10.0.0.${i}`));
  }
  begin();
  const all = Array.from({ length: 120 }, (_, i) => watch(`s${i}`));
  await waitFor("all services", () => all.every((one) => one.addresses?.length === 1));
  await waitFor("the watches", () => api.watching("endpointslices") === 1 && api.watching("services") === 1);
  expect(api.connections).toBe(1);

  api.put("endpointslices", sliceOf("s7", "s7-b", "10.1.0.1"));
  await waitFor("the second slice", () => all[7]?.addresses?.length === 2);
  api.delete("endpointslices", "default", "s7-a");
  await waitFor("the first to go", () => all[7]?.addresses?.join() === "10.1.0.1");
  expect(all[7]?.snapshots.map(({ discontinuous }) => discontinuous)).toEqual([true, false, false]);
  // The others were not bothered.
  expect(all.filter((one) => one.snapshots.length !== 1)).toEqual([all[7]]);
  await expect(source.list(new AbortController().signal)).resolves.toHaveLength(120);
});

test("goes on from where a watch ended, with the version of the last bookmark or event", async () => {
  api.put("services", serviceOf("orders"));
  api.put("endpointslices", sliceOf("orders", "a", "10.0.0.1"));
  begin();
  const orders = watch("orders");
  await waitFor("the service", () => orders.addresses);
  api.put("endpointslices", sliceOf("orders", "a", "10.0.0.2"));
  await waitFor("the change", () => orders.addresses?.[0] === "10.0.0.2");
  api.send("endpointslices", { type: "BOOKMARK", object: { metadata: { resourceVersion: "777" } } });
  api.endWatches("endpointslices");
  const slices = () => api.requests.filter(({ path }) => path.endsWith("endpointslices"));
  await waitFor("the next watch", () => slices().length === 2);
  expect(slices()[1]?.query.get("resourceVersion")).toBe("777");
  await waitFor("it to be open", () => api.watching("endpointslices") === 1);
  api.put("endpointslices", sliceOf("orders", "a", "10.0.0.3"));
  await waitFor("the change", () => orders.addresses?.[0] === "10.0.0.3");
});

test("lists again after 410 and tells of what changed meanwhile, only that, and never of an empty state", async () => {
  for (const name of ["orders", "users"]) {
    api.put("services", serviceOf(name));
    api.put("endpointslices", sliceOf(name, `${name}-a`, "10.0.0.1"));
  }
  begin();
  const [orders, users] = [watch("orders"), watch("users")];
  await waitFor("both", () => orders.addresses && users.addresses);
  // The slice is replaced by one of another name while nobody tells.
  api.put("endpointslices", sliceOf("orders", "orders-b", "10.0.0.2"), true);
  api.delete("endpointslices", "default", "orders-a", true);
  api.send("endpointslices", { type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired" } });
  await waitFor("the change", () => orders.addresses?.[0] === "10.0.0.2");
  expect(orders.snapshots.map(({ endpoints }) => endpoints.length)).toEqual([1, 1]);
  expect(orders.snapshots.at(-1)?.discontinuous).toBe(true);
  expect(users.snapshots).toHaveLength(1);
});

test.each([
  { what: "the same endpoints in another order", endpoints: ["10.0.0.2", "10.0.0.1"], port: 80, told: 1 },
  { what: "another port", endpoints: ["10.0.0.1", "10.0.0.2"], port: 81, told: 2 },
  { what: "an endpoint less", endpoints: ["10.0.0.1"], port: 80, told: 2 },
])("a list with a new version of a slice tells what is different in it: $what", async ({ endpoints, port, told }) => {
  const slice = (addresses: readonly string[], number: number) => ({
    ...sliceOf("orders", "a", ...addresses),
    ports: [{ name: "http", port: number, protocol: "TCP" }],
  });
  api.put("services", serviceOf("orders"));
  api.put("services", serviceOf("users"));
  api.put("endpointslices", slice(["10.0.0.1", "10.0.0.2"], 80));
  begin();
  const [orders, users] = [watch("orders"), watch("users")];
  await waitFor("the services", () => orders.addresses?.length === 2 && users.snapshots.length === 1);

  api.put("endpointslices", slice(endpoints, port), true);
  api.put("endpointslices", sliceOf("users", "b", "10.0.0.9"), true);
  api.send("endpointslices", { type: "ERROR", object: { kind: "Status", code: 410, reason: "Expired" } });
  await waitFor("the list", () => users.addresses?.length === 1);
  // What comes behind the list is told behind all that the list changes.
  await waitFor("the watch", () => api.watching("endpointslices") === 1);
  api.put("endpointslices", sliceOf("users", "b", "10.0.0.8"));
  await waitFor("what comes behind it", () => users.addresses?.join() === "10.0.0.8");
  await waitFor("what was told of the service", () => orders.snapshots.length >= told);
  expect(orders.snapshots).toHaveLength(told);
  expect(orders.addresses?.toSorted()).toEqual([...endpoints].sort());
});

test("begins a paged list anew when it expires between pages", async () => {
  api.streamsLists = false;
  for (let i = 0; i < 60; i++) api.put("services", serviceOf(`s${i}`));
  let expired = 0;
  api.intercept = ({ query, stream }) => {
    if (!query.has("continue") || expired > 0) return false;
    expired++;
    replyStatus(stream, 410, "The provided continue parameter is too old");
    return true;
  };
  begin();
  const last = watch("s59");
  await waitFor("the list", () => last.snapshots.length === 1);
  expect(expired).toBe(1);
  expect(last.snapshots[0]?.unknownService).toBe(false);
});

test("a version that goes back means another past: the state is listed anew", async () => {
  api.put("services", serviceOf("orders"));
  api.put("endpointslices", sliceOf("orders", "a", "10.0.0.1"));
  begin();
  const orders = watch("orders");
  await waitFor("the service", () => orders.addresses);
  api.put("endpointslices", sliceOf("orders", "a", "10.0.0.9"), true);
  api.send("endpointslices", { type: "BOOKMARK", object: { metadata: { resourceVersion: "5" } } });
  await waitFor("the restored state", () => orders.addresses?.[0] === "10.0.0.9");
});

test("a service that comes and goes is unknown in between", async () => {
  begin();
  const orders = watch("orders");
  await waitFor("the answer", () => orders.snapshots.at(-1)?.unknownService);
  api.put("services", serviceOf("orders"));
  await waitFor("the service", () => orders.snapshots.at(-1)?.unknownService === false);
  api.delete("services", "default", "orders");
  await waitFor("it to be gone", () => orders.snapshots.at(-1)?.unknownService);
  expect(orders.error).toBeUndefined();
});

test("a slice that changes its service leaves the other one", async () => {
  for (const name of ["blue", "green"]) api.put("services", serviceOf(name));
  api.put("endpointslices", sliceOf("blue", "a", "10.0.0.1"));
  begin();
  const [blue, green] = [watch("blue"), watch("green")];
  await waitFor("the slice", () => blue.addresses?.length === 1 && green.addresses?.length === 0);
  api.put("endpointslices", sliceOf("green", "a", "10.0.0.1"));
  await waitFor("the move", () => blue.addresses?.length === 0 && green.addresses?.length === 1);
});

test("a refused token is asked for anew, once", async () => {
  api.put("services", serviceOf("orders"));
  api.intercept = ({ authorization, stream }) => {
    if (authorization === "Bearer good") return false;
    replyStatus(stream, 401, "Unauthorized");
    return true;
  };
  let token = "old";
  begin({ credentials: { get: async () => ({ authorization: `Bearer ${token}` }), refused: () => (token = "good") } });
  const orders = watch("orders");
  await waitFor("the service", () => orders.snapshots.length > 0);
  expect(orders.error).toBeUndefined();
});

test("a token that stays refused is unauthenticated, missing rights are permission_denied; both in the server's words", async () => {
  api.intercept = ({ stream, path }) => {
    const message = path.endsWith("endpointslices") ? "endpointslices is forbidden" : "no";
    replyStatus(stream, path.endsWith("endpointslices") ? 403 : 401, message);
    return true;
  };
  begin();
  const forbidden = await failure(watch("orders"));
  expect(forbidden).toBeInstanceOf(DiscoveryError);
  await expect(source.probe(new AbortController().signal)).rejects.toMatchObject({ kind: "unauthenticated" });
  api.intercept = ({ stream }) => {
    replyStatus(stream, 403, 'services is forbidden: User "x" cannot list');
    return true;
  };
  const denied = await failure(watch("orders"));
  expect(denied).toMatchObject({ kind: "permission_denied", message: expect.stringContaining('User "x" cannot list') });
  // Rights that only the probe lacks are no failure.
  await expect(source.probe(new AbortController().signal)).resolves.toEqual({ clusterIdentity: "", version: "" });
});

test.each([
  ["[+]ping ok\n[-]etcd failed: reason withheld\nreadyz check failed", "the API server is not ready: [-]etcd failed"],
  ["[+]etcd ok\n[-]shutdown failed: reason withheld\nreadyz check failed", undefined],
])("a server that lost its etcd says nothing more in its watches, and is unreachable: %j", async (readyz, problem) => {
  api.intercept = ({ stream, path }) => {
    if (path !== "/readyz") return false;
    stream.respond({ ":status": 500 });
    stream.end(readyz);
    return true;
  };
  begin();
  const outcome = await source.probe(new AbortController().signal).catch((error: unknown) => error);
  expect(outcome).toMatchObject(
    problem === undefined ? { clusterIdentity: "script" } : { kind: "unreachable", message: problem },
  );
});

test("a question whose asker has gone makes no connection, which would fail with nobody to hear of it", async () => {
  const port = await freePort();
  source = new KubernetesSource({ access: { ...api.access(), server: new URL(`https://127.0.0.1:${port}`) } });
  const gone = new Error("gone");
  await expect(source.probe(AbortSignal.abort(gone))).rejects.toBe(gone);
  // By now it would have failed.
  await expect(source.probe(new AbortController().signal)).rejects.toMatchObject({ kind: "unreachable" });
});

test("a probe doesn't wait for credentials as long as a watch does, and says whose they are", async () => {
  const credentials: Credentials = {
    giver: "credential plugin p",
    get: () => new Promise(() => {}),
    refused: () => {},
  };
  begin({ credentials });
  await expect(source.probe(new AbortController().signal)).rejects.toMatchObject({
    kind: "unauthenticated",
    message: "credential plugin p has not answered for 2 s",
  });
});

test.each([
  ["a line that breaks off", '{"type":"ADDED","obj', "unreachable"],
  ["a line that is no event", "nonsense\n", "bad_answer"],
  ["an error", '{"type":"ERROR","object":{"code":500,"message":"etcdserver: no leader"}}\n', "unreachable"],
])("%s fails all watches, and the next watch begins anew", async (_, text, kind) => {
  api.put("services", serviceOf("orders"));
  begin();
  const [one, other] = [watch("orders"), watch("nope")];
  await waitFor("both", () => one.snapshots.length > 0 && other.snapshots.length > 0);
  api.send("endpointslices", text);
  api.endWatches("endpointslices");
  expect(await failure(one)).toMatchObject({ kind });
  expect(await failure(other)).toMatchObject({ kind });
  const again = watch("orders");
  await waitFor("the service", () => again.snapshots.length > 0);
});

test("a watch on which nothing comes any more is given up", async () => {
  begin({ reflect: { watchMs: 1_500, bookmarkQuietMs: 1_500, watchMsMin: 1_000 } });
  const orders = watch("orders");
  await waitFor("the service", () => orders.snapshots.length > 0);
  expect(await failure(orders)).toMatchObject({
    kind: "unreachable",
    message: expect.stringContaining("nothing from"),
  });
});

test("watches namespaces one by one where it is told to, and no others", async () => {
  api.intercept = ({ path, stream }) => {
    if (path.includes("/namespaces/") || path === "/version") return false;
    replyStatus(stream, 403, "cluster-wide");
    return true;
  };
  api.put("services", serviceOf("orders"));
  begin({ namespaces: ["default"] });
  const orders = watch("orders");
  await waitFor("the service", () => orders.snapshots.length > 0);
  expect(await failure(watch("orders", "other"))).toMatchObject({ kind: "bad_settings" });
});

test("a list that is no list is a bad answer", async () => {
  api.streamsLists = false;
  api.intercept = ({ query, path, stream }) => {
    if (!path.endsWith("services") || query.has("watch")) return false;
    reply(stream, 200, { items: [] });
    return true;
  };
  begin();
  expect(await failure(watch("orders"))).toMatchObject({ kind: "bad_answer" });
});

test("once it is closed nothing opens a connection any more, whatever was under way: nobody would close that one", async () => {
  begin();
  const signal = AbortSignal.timeout(60_000);
  const credential = Promise.withResolvers<Credential>();
  const late = new KubernetesApi(api.access({ get: () => credential.promise, refused: () => {} }));
  const asked = late.bytes("/version", signal);
  late.close();
  credential.resolve({ authorization: "Bearer good" });
  await expect(asked).rejects.toThrow("the source was closed");

  // One that connects, and one that waits for its connection.
  const connecting = new KubernetesApi(api.access());
  const both = Promise.allSettled([connecting.bytes("/version", signal), connecting.bytes("/version", signal)]);
  // Both have their credentials now.
  await new Promise((resolve) => setImmediate(resolve));
  connecting.close();
  await both;
  await waitFor("the end of all connections", () => api.connections === 0);
});
