/** Records what a real Consul answers, for discovery/consul/consul.test.ts: node test/support/record-consul.ts */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { Consul } from "./consul.ts";

const folder = join(import.meta.dirname, "../../discovery/consul/testdata");

/** Asks, and keeps the answer: status, Consul's own headers, and body. */
async function record(consul: Consul, name: string, path: string, token?: string): Promise<void> {
  const response = await fetch(consul.url + path, { headers: token === undefined ? {} : { "x-consul-token": token } });
  const text = await response.text();
  const headers = Object.fromEntries([...response.headers].filter(([header]) => header.startsWith("x-consul")));
  const body = response.headers.get("content-type") === "application/json" ? (JSON.parse(text) as unknown) : text;
  const answer = { path, status: response.status, headers, body };
  await writeFile(join(folder, `${name}.json`), `${JSON.stringify(answer, null, 2)}\n`);
}

await mkdir(folder, { recursive: true });

const open = await Consul.start();
try {
  const orders = "/v1/health/service/orders";
  await record(open, "unknown-service", orders);
  const weights = { Passing: 7, Warning: 2 };
  const o1 = {
    id: "o1",
    name: "orders",
    address: "10.0.0.1",
    port: 8080,
    tags: ["v2", "live"],
    meta: { team: "shop" },
  };
  await open.register({ ...o1, weights, check: "passing" });
  await open.register({ id: "o2", name: "orders", address: "10.0.0.2", port: 8081, weights, check: "warning" });
  await open.register({ id: "o3", name: "orders", address: "10.0.0.3", port: 8082, check: "critical" });
  await open.register({ id: "o4", name: "orders", port: 8083 });
  await open.register({ id: "o5", name: "orders", address: "orders.example.com", port: 8084 });
  await open.call("PUT", "/v1/agent/service/maintenance/o4?enable=true&reason=test");
  const locality = { Locality: { Region: "eu", Zone: "eu-a" } };
  const o6 = { ID: "o6", Name: "orders", Address: "fd00::6", Port: 8085, ...locality };
  await open.call("PUT", "/v1/agent/service/register", o6);
  await record(open, "orders", orders);
  await record(open, "bad-filter", `${orders}?filter=${encodeURIComponent("nonsense ===")}`);
  for (const id of ["o1", "o2", "o3", "o4", "o5", "o6"]) await open.deregister(id);
  await record(open, "all-gone", orders);
  await record(open, "index-from-before-a-restart", `${orders}?index=999999&wait=1s`);
} finally {
  await open.stop();
}

const guarded = await Consul.start({ acl: true });
try {
  await guarded.register({ id: "s1", name: "orders", address: "10.0.3.1", port: 80 });
  const token = await guarded.token('service "public" { policy = "read" } node_prefix "" { policy = "read" }');
  await record(guarded, "filtered-by-acls", "/v1/health/service/orders", token);
  await record(guarded, "anonymous", "/v1/health/service/orders");
  await record(guarded, "unknown-token", "/v1/health/service/orders", "99999999-2222-3333-4444-555555555555");
} finally {
  await guarded.stop();
}
