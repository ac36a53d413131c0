/** Which services a change somewhere in Consul hints at: told by a server that answers as Consul does. */
import { once } from "node:events";
import { createServer, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import { afterEach, expect, test } from "vitest";

import { ConsulClient } from "./client.ts";
import { watchHints } from "./hints.ts";
import { waitFor } from "../../test/support/wait.ts";

const cleanups: (() => Promise<unknown>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

/** Lists by their paths, a text as it is; a question that names the index waits for `set`. `bodies` are there from the beginning. */
async function start(bodies: Readonly<Record<string, unknown>> = {}) {
  const lists = new Map<string, { index: number; body: unknown; waiting: Set<ServerResponse>; told: number }>();
  const list = (path: string) => {
    const body = bodies[path] ?? (path.endsWith("services") ? {} : []);
    const found = lists.get(path) ?? { index: 1, body, waiting: new Set(), told: 0 };
    lists.set(path, found);
    return found;
  };
  const tell = (path: string, response: ServerResponse) => {
    const { index, body } = list(path);
    list(path).told++;
    response
      .writeHead(200, { "x-consul-index": String(index) })
      .end(typeof body === "string" ? body : JSON.stringify(body));
  };
  const server = createServer((request, response) => {
    const { pathname, searchParams } = new URL(request.url ?? "", "http://consul");
    if (searchParams.get("index") === String(list(pathname).index)) list(pathname).waiting.add(response);
    else tell(pathname, response);
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const settings = { addresses: [`http://127.0.0.1:${(server.address() as AddressInfo).port}`] };
  const client = new ConsulClient(settings);
  const end = new AbortController();
  const hinted: string[] = [];
  const done = watchHints(client, settings, (service) => hinted.push(service), end.signal);
  cleanups.push(async () => {
    end.abort();
    await client.close();
    server.closeAllConnections();
    server.close();
    await done;
  });
  const set = async (path: string, body: unknown) => {
    await waitFor(`a question for ${path} that waits`, () => list(path).waiting.size > 0);
    const it = list(path);
    it.index++;
    it.body = body;
    for (const response of it.waiting) tell(path, response);
    it.waiting.clear();
  };
  const hints = async (...expected: string[]) => {
    await waitFor(`hints at ${expected.join()}`, () => hinted.length >= expected.length);
    expect(hinted.splice(0).sort()).toEqual(expected);
  };
  return { list, set, hints };
}

const check = (service: string, id: string) => ({
  Node: "n1",
  CheckID: `check:${id}`,
  ServiceID: id,
  ServiceName: service,
});
const critical = "/v1/health/state/critical";

test("services are hinted at whose checks begin or cease to fail, and no others", async () => {
  const { set, hints } = await start();
  await set(critical, [check("orders", "o1"), check("carts", "c1")]);
  await hints("carts", "orders");
  await set(critical, [check("carts", "c1"), check("orders", "o2")]);
  await hints("orders", "orders");
  await set("/v1/health/state/warning", [check("users", "u1")]);
  await hints("users");
});

test("a check of a node hints at all that runs there", async () => {
  const { list, set, hints } = await start();
  list("/v1/catalog/node/n1").body = { Node: {}, Services: { a: { Service: "orders" }, b: { Service: "carts" } } };
  await set(critical, [{ Node: "n1", CheckID: "serfHealth", ServiceID: "", ServiceName: "" }]);
  await hints("carts", "orders");
});

test("a service that comes, goes or has other tags is hinted at", async () => {
  const { set, hints } = await start();
  await set("/v1/catalog/services", { orders: ["v1"], carts: [] });
  await hints("carts", "orders");
  await set("/v1/catalog/services", { orders: ["v1", "v2"], carts: [] });
  await hints("orders", "orders");
});

test("where something was registered, services with another number of instances or other nodes are hinted at", async () => {
  const path = "/v1/internal/ui/services";
  const summary = (Name: string, InstanceCount: number, ...Nodes: string[]) => ({ Name, InstanceCount, Nodes });
  const [orders, carts, users] = [
    summary("orders", 1, "n1"),
    summary("carts", 2, "n1", "n2"),
    summary("users", 1, "n1"),
  ];
  const { list, set, hints } = await start({ [path]: [orders, carts, users] });
  await waitFor("the summaries to be told", () => list(path).told > 0);
  // The names stay the same; the order of nodes says nothing.
  list(path).body = [summary("orders", 2, "n1"), summary("carts", 2, "n2", "n1"), summary("users", 1, "n2")];
  await set("/v1/catalog/services", {});
  await hints("orders", "users");
  list(path).body = [summary("orders", 2, "n1"), summary("carts", 2, "n1", "n2")];
  await set("/v1/catalog/services", {});
  await hints("users");
});

test("an answer that can't be looked through is none, and what else there is goes on", async () => {
  const { set, hints } = await start();
  // Read without recursion, but written with it.
  const tags = `${"[".repeat(100_000)}${"]".repeat(100_000)}`;
  await set("/v1/catalog/services", `{ "carts": ${tags} }`);
  await set("/v1/health/state/critical", [check("orders", "orders-1")]);
  await hints("orders");
});
