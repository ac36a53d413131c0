/** The example gateway on the native proxy: `sluice up --config FILE`, then HTTP. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { exampleGateway, temporaryDir } from "../support/gateway.ts";
import { type Answer, type Ask, ask, askRaw, webSocketEcho } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { Program, run, sluicePath } from "../support/processes.ts";
import { type Echo, startUpstream, type Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

let dir: Awaited<ReturnType<typeof temporaryDir>>;
let file: string;
let text: string;
let up: Program;
let http: number;
let admin: number;
let proxyAdmin: number;
const upstreams: Record<number, Upstream> = {};

beforeAll(async () => {
  dir = await temporaryDir();
  const ports: Record<number, number> = { 9080: await freePort() };
  for (const port of [9101, 9102, 9103, 9104]) {
    const upstream = await startUpstream(`u${port}`, await freePort());
    upstreams[port] = upstream;
    ports[port] = upstream.port;
  }
  http = ports[9080] as number;
  text = await exampleGateway(ports);
  file = join(dir.path, "gateway.yaml");
  await writeFile(file, text);
  admin = await freePort();
  proxyAdmin = await freePort();
  up = new Program(sluicePath, [
    "up",
    ...["--data", join(dir.path, "data")],
    ...["--config", file],
    ...["--admin", `127.0.0.1:${admin}`],
    ...["--xds", `127.0.0.1:${await freePort()}`],
    ...["--proxy-admin", `127.0.0.1:${proxyAdmin}`],
    ...["--workers", "1"],
  ]);
  await waitFor(
    "the first answer through the proxy",
    async () => {
      if (up.exited) throw new Error(up.stderr);
      return (await shop({ path: "/" })).status === 200;
    },
    180_000,
  );
});

afterAll(async () => {
  await up?.stop();
  for (const upstream of Object.values(upstreams)) await upstream.close();
  await dir?.remove();
});

const orders = (request: Ask): Promise<Answer> =>
  ask(http, { ...request, headers: { host: "orders.example.com", ...request.headers } });
const shop = (request: Ask): Promise<Answer> =>
  ask(http, { ...request, headers: { host: "shop.example.com", ...request.headers } });
const echo = (answer: Answer): Echo => {
  expect(answer.status).toBe(200);
  return JSON.parse(answer.body) as Echo;
};

describe("routing", () => {
  test("the path prefix is stripped", async () => {
    expect(echo(await orders({ path: "/api/list?page=1" })).path).toBe("/list?page=1");
    expect(echo(await orders({ path: "/api/items/7/parts" })).path).toBe("/items/7/parts");
  });

  test("a parameter takes one segment and no more", async () => {
    expect(echo(await orders({ path: "/api/users/42/orders" })).path).toBe("/users/42/orders");
    expect((await orders({ path: "/api/users/4/2/orders" })).status).toBe(404);
    expect((await orders({ path: "/api/users//orders" })).status).toBe(404);
  });

  test("a method that the route doesn't name finds no route", async () => {
    expect((await orders({ method: "POST", path: "/api/items/7" })).status).toBe(404);
  });

  test("vars and priority choose the upstream", async () => {
    const both = { path: "/api/list?page=5", headers: { "x-beta": "1", "x-user": "ann" } };
    expect(["u9103", "u9104"]).toContain(echo(await orders(both)).upstream);
    expect(["u9101", "u9102"]).toContain(echo(await orders({ ...both, path: "/api/list?page=2" })).upstream);
    expect(["u9101", "u9102"]).toContain(echo(await orders({ ...both, headers: { "x-beta": "0" } })).upstream);
    expect(["u9101", "u9102"]).toContain(echo(await orders({ ...both, path: "/api/list" })).upstream);
  });

  test("wildcard hosts, ports in Host and letter case", async () => {
    for (const host of ["eu.orders.example.com", "ORDERS.example.com:8443", "a.b.orders.example.com"]) {
      echo(await orders({ path: "/api/list", headers: { host } }));
    }
    expect((await orders({ path: "/api/list", headers: { host: "example.com" } })).status).toBe(404);
    expect((await orders({ path: "/list" })).status).toBe(404);
  });
});

describe("balancing", () => {
  test("weights of 3:1 hold over 1,000 requests", async () => {
    const counts = new Map<string, number>();
    for (let i = 0; i < 1000; i++) {
      const { upstream } = echo(await orders({ path: "/api/list" }));
      counts.set(upstream, (counts.get(upstream) ?? 0) + 1);
    }
    expect(Math.abs((counts.get("u9101") ?? 0) - 750)).toBeLessThanOrEqual(2);
    expect(Math.abs((counts.get("u9102") ?? 0) - 250)).toBeLessThanOrEqual(2);
  });

  test("the consistent hash sticks per x-user, and uses both nodes", async () => {
    const seen = new Set<string>();
    for (let user = 0; user < 40; user++) {
      const request = { path: "/api/list?page=3", headers: { "x-beta": "1", "x-user": `user-${user}` } };
      const first = echo(await orders(request)).upstream;
      for (let again = 0; again < 4; again++) expect(echo(await orders(request)).upstream).toBe(first);
      seen.add(first);
    }
    expect([...seen].sort()).toEqual(["u9103", "u9104"]);
  });
});

describe("requests and answers", () => {
  test("a body goes through whole, sized and chunked", async () => {
    const body = Buffer.alloc(3_000_000, "sluice");
    const sized = echo(
      await shop({ method: "POST", path: "/upload", body, headers: { "content-length": `${body.length}` } }),
    );
    const chunked = echo(
      await shop({ method: "POST", path: "/upload", body, headers: { "transfer-encoding": "chunked" } }),
    );
    expect(sized.bodyLength).toBe(body.length);
    expect(chunked.bodySha256).toBe(sized.bodySha256);
  });

  test("the upstream learns who asked, by a name for the request", async () => {
    const { headers } = echo(await shop({ path: "/", headers: { "x-forwarded-for": "203.0.113.9" } }));
    expect(headers["x-forwarded-for"]).toMatch(/^203\.0\.113\.9,\s?127\.0\.0\.1$/);
    expect(headers["x-forwarded-proto"]).toBe("http");
    expect(headers["x-request-id"]).toMatch(/^[0-9a-f-]{36}$/);
  });

  test("websockets echo on the route that allows them, and only there", async () => {
    const headers = { host: "orders.example.com" };
    expect(await webSocketEcho(`ws://127.0.0.1:${http}/api/live`, "hello", headers)).toBe("hello");
    await expect(webSocketEcho(`ws://127.0.0.1:${http}/api/list`, "hello", headers)).rejects.toThrow(" 403 ");
  });

  test("malformed requests get 400 and the connection is closed", async () => {
    for (const bytes of [
      "GET / HTTP/1.1\r\nhost: shop.example.com\r\nhost: other\r\n\r\n",
      "POST / HTTP/1.1\r\nhost: shop.example.com\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n",
      "GET / HTTP/1.1\r\nhost: shop.example.com\r\n folded: 1\r\n\r\n",
    ]) {
      expect(await askRaw(http, bytes)).toMatch(/^HTTP\/1\.1 400 /);
    }
  });

  test("a head over 60 KiB gets 431, a URI over 8 KiB 414", async () => {
    const host = "host: shop.example.com\r\n";
    expect(await askRaw(http, `GET / HTTP/1.1\r\n${host}x: ${"a".repeat(62_000)}\r\n\r\n`)).toMatch(/^HTTP\/1\.1 431 /);
    expect(await askRaw(http, `GET /${"a".repeat(9_000)} HTTP/1.1\r\n${host}\r\n`)).toMatch(/^HTTP\/1\.1 414 /);
  });

  test("an upstream that is gone is 503, with Envoy's flag in the access log", async () => {
    const gone = upstreams[9103] as Upstream;
    const { port, name } = gone;
    await gone.close();
    // A request on a connection whose end the proxy has not read yet would break off with it.
    await waitFor("the proxy to know", async () => {
      const { body } = await ask(proxyAdmin, { path: "/stats" });
      return /^cluster\.shop-front\/default\.upstream_cx_active: 0$/m.test(body);
    });
    const answer = await shop({ path: "/gone-upstream" });
    expect(answer.status).toBe(503);
    const line = await waitFor("its line in the access log", () =>
      up.stdout.split("\n").find((entry) => entry.startsWith("{") && entry.includes("/gone-upstream")),
    );
    expect(JSON.parse(line)).toMatchObject({ status: 503, flags: "UF", path: "/gone-upstream" });
    upstreams[9103] = await startUpstream(name, port);
    expect((await shop({ path: "/back" })).status).toBe(200);
  });
});

describe("the file", () => {
  test("an edit changes traffic within moments, and no request fails meanwhile", async () => {
    let stop = false;
    const statuses: Record<number, number> = {};
    const load = (async () => {
      while (!stop) {
        const { status } = await orders({ path: "/api/list" });
        statuses[status] = (statuses[status] ?? 0) + 1;
      }
    })();
    await writeFile(file, text.replace("paths: [/live]", "paths: [/live, /news]"));
    await waitFor("the new path", async () => (await orders({ path: "/api/news" })).status === 200);
    await writeFile(file, text);
    await waitFor("the new path to be gone", async () => (await orders({ path: "/api/news" })).status === 404);
    stop = true;
    await load;
    expect(Object.keys(statuses)).toEqual(["200"]);
  });

  test("a broken file changes nothing and says where and why", async () => {
    await writeFile(file, text.replace("upstream: reports", "upstream: report"));
    await waitFor("the complaint", () => /gateway\.yaml:\d+:\d+.*report/.test(up.stderr + up.stdout));
    echo(await orders({ path: "/api/list" }));
    await writeFile(file, text.replace("priority: 10", "priority: ten"));
    await waitFor("the complaint", () => /gateway\.yaml:\d+:\d+.*priority/.test(up.stderr + up.stdout));
    echo(await orders({ path: "/api/list" }));
    await writeFile(file, text);
  });
});

describe("what operators see", () => {
  const sluice = async (...args: string[]) =>
    await run(sluicePath, args, { env: { SLUICE_DATA: join(dir.path, "data") } });

  test("status shows the proxy in step", async () => {
    const { stdout } = await waitFor("the proxy to be in step", async () => {
      const result = await sluice("status", "-o", "json");
      return /synced/i.test(result.stdout) ? result : undefined;
    });
    expect(JSON.parse(stdout)).toBeTypeOf("object");
    expect((await sluice("status")).stdout).toMatch(/native/);
  });

  test("get -o yaml is a file that apply takes back without a change", async () => {
    const exported = await sluice("get", "all", "-o", "yaml");
    expect(exported.code).toBe(0);
    const copy = join(dir.path, "copy.yaml");
    await writeFile(copy, exported.stdout);
    expect((await sluice("diff", "-f", copy)).code).toBe(0);
  });

  test("the proxy's admin endpoint speaks Envoy's words", async () => {
    const get = async (path: string) => (await ask(proxyAdmin, { path })).body;
    expect(await get("/ready")).toBe("LIVE\n");
    expect(JSON.parse(await get("/server_info"))).toMatchObject({ state: "LIVE" });
    expect(await get("/clusters")).toMatch(/orders\/default::127\.0\.0\.1:\d+::weight::3/);
    expect(await get("/listeners")).toMatch(/^http::127\.0\.0\.1:\d+/m);
    expect(await get("/stats")).toMatch(/^cluster\.orders\/default\.upstream_rq_total: [1-9]/m);
    expect(await get("/stats/prometheus")).toMatch(
      /^envoy_cluster_upstream_rq_total\{[^}]*orders\/default[^}]*\} [1-9]/m,
    );
    expect(await get("/config_dump")).toContain("orders/reports");
  });
});
