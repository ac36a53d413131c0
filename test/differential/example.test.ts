/**
 * The example gateway on the native proxy and on a real Envoy, which get the same resources: whatever is asked, both answer alike, and
 * the upstream sees the same request.
 */
import http from "node:http";

import fc from "fast-check";
import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { exampleGateway } from "../support/gateway.ts";
import { type Answer, type Ask, ask, webSocketEcho } from "../support/http.ts";
import { type Echo, startUpstream, type Upstream } from "../support/upstream.ts";

const REQUESTS = Number(process.env["SLUICE_DIFFERENTIAL_REQUESTS"] ?? 600);

let planes: DataPlanes;
let native: number;
let envoyPort: number;
const upstreams: Upstream[] = [];
const agent = new http.Agent({ keepAlive: true });

beforeAll(async () => {
  const ports: Record<number, number> = {};
  for (const port of [9101, 9102, 9103, 9104]) {
    const upstream = await startUpstream(`u${port}`);
    upstreams.push(upstream);
    ports[port] = upstream.port;
  }
  const text = await exampleGateway(ports);
  planes = await startDataPlanes((group, port) => {
    const own = text.replace("port: 9080", `port: ${port}`);
    if (group === "default") return own;
    return own
      .replace("- name: default\n    listeners", "- name: envoy\n    listeners")
      .replace("gatewayGroup: default ", "gatewayGroup: envoy ")
      .replace("- name: shop-front\n", "- name: shop-front\n    gatewayGroup: envoy\n");
  }, "shop.example.com");
  native = planes.native.port;
  envoyPort = planes.envoy.port;
});

afterAll(async () => {
  agent.destroy();
  await planes?.stop();
  for (const upstream of upstreams) await upstream.close();
});

/** What must be alike: everything but times, random ids, and which of several equal nodes took the request. */
function comparable(answer: Answer, request: Ask): unknown {
  const { date, "x-envoy-upstream-service-time": serviceTime, "content-length": length, ...headers } = answer.headers;
  const common = {
    status: answer.status,
    dated: date !== undefined,
    timed: serviceTime !== undefined,
    headers: { ...headers, "x-upstream": undefined },
  };
  if (answer.body === "" || answer.headers["content-type"] !== "application/json") {
    return { ...common, body: answer.body, length: request.method === "HEAD" ? undefined : length };
  }
  const echo = JSON.parse(answer.body) as Echo;
  const { "x-request-id": id, ...seen } = echo.headers;
  // The consistent hash must choose the same node on both; where it has nothing to hash, and by weight, nodes are drawn.
  const drawn = /u910[12]/.test(echo.upstream)
    ? "u9101 or u9102"
    : request.headers?.["host"] === "shop.example.com"
      ? echo.upstream
      : "u9103 or u9104";
  const upstream = seen["x-user"] === undefined || /u910[12]/.test(echo.upstream) ? drawn : echo.upstream;
  // For a client on its own machine, Envoy names its own address instead of the client's.
  const { "x-forwarded-for": forwarded, ...others } = seen;
  const clients = forwarded?.replace(/[^,]*$/, "the peer");
  const requestId = id === undefined ? "none" : /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(id) ? "an id" : id;
  return {
    ...common,
    echo: { ...echo, upstream, headers: { ...others, "x-forwarded-for": clients, "x-request-id": requestId } },
  };
}

/** Each leaf that differs, as "path: ours | theirs". */
function differingFields(ours: unknown, theirs: unknown, path = ""): string[] {
  if (isObject(ours) && isObject(theirs)) {
    return [...new Set([...Object.keys(ours), ...Object.keys(theirs)])].flatMap((key) =>
      differingFields(ours[key], theirs[key], `${path}.${key}`),
    );
  }
  return Object.is(ours, theirs) ? [] : [`${path}: native ${JSON.stringify(ours)}, Envoy ${JSON.stringify(theirs)}`];
}

const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;

const of = <T>(...values: T[]) => fc.constantFrom(...values);
const some = (name: string, ...values: string[]) =>
  fc.oneof(
    { weight: 2, arbitrary: fc.constant({}) },
    { weight: 1, arbitrary: of(...values).map((value) => ({ [name]: value })) },
  );

const paths = fc.oneof(
  of(
    ...[
      "/api/list",
      "/api/list/",
      "/api/list?page=3",
      "/api/list?page=9",
      "/api/list?page=33",
      "/api/list?page=3&page=1",
    ],
    ...[
      "/api/list?page=1&page=3",
      "/api/list?page",
      "/api/list?page=",
      "/api/list?x=1&page=4",
      "/api/list?page=%33",
      "/api/list?",
    ],
    ...[
      "/api",
      "/api/",
      "/api/items",
      "/api/items/",
      "/api/items/1",
      "/api/items/1/2?q=a%20b",
      "/api/items/%41",
      "/API/list",
    ],
    ...[
      "/api/users/1/orders",
      "/api/users//orders",
      "/api/users/a%20b/orders",
      "/api/users/1/orders/",
      "/api/users/1/2/orders",
    ],
    ...[
      "/",
      "//",
      "/list",
      "/live",
      "/api/live",
      "/api//list",
      "//api/list",
      "/api/./list",
      "/api/../api/list",
      "/api/items/../list",
    ],
    ...[
      "/api/items/%2e%2e/list",
      "/api/items/..%2flist",
      "/api/items%2F1",
      "/api/items/a%5cb",
      "/api/items/a;b=c",
      "/api/%6cist",
    ],
    ...[
      "/api/items/~a!$&'()*+,=:@",
      "/api/list?a=b?c=d",
      "/api/list?page=3#",
      "/api/items/..",
      "/..",
      "/api/items/%",
      "/api/items/%zz",
    ],
  ),
  fc
    .array(
      of("api", "list", "items", "users", "orders", "..", ".", "", "%2e", "a b".replace(" ", "%20"), "é".normalize()),
      { maxLength: 5 },
    )
    .map((segments) => encodeURI(`/${segments.join("/")}`).replaceAll("%25", "%")),
);

const request: fc.Arbitrary<Ask> = fc
  .record({
    method: fc.oneof(
      { weight: 6, arbitrary: fc.constant("GET") },
      of("POST", "HEAD", "PUT", "OPTIONS", "DELETE", "PATCH", "PURGE"),
    ),
    host: fc.oneof(
      { weight: 5, arbitrary: fc.constant("orders.example.com") },
      of(
        "shop.example.com",
        "eu.orders.example.com",
        "ORDERS.Example.com",
        "orders.example.com:80",
        "a.b.orders.example.com:9080",
      ),
      of(".orders.example.com", "example.com", "orders.example.com.", "127.0.0.1", "shop.example.com:443"),
    ),
    path: paths,
    headers: fc
      .tuple(
        some("x-beta", "1", "0", "", "11", "1,1"),
        some("x-user", "ann", "bob", "ümlaut".normalize("NFD").replace(/[^ -~]/g, ""), "a, b", ""),
        some("x-forwarded-for", "203.0.113.9", "203.0.113.9, 10.0.0.1", "nonsense"),
        some("x-forwarded-proto", "https", "ftp"),
        some("x-request-id", "mine", "2f0b7d5e-0000-4000-8000-000000000000"),
        some("x-envoy-upstream-rq-timeout-ms", "1"),
        some("x-envoy-retry-on", "5xx"),
        some("x-test-status", "404", "500", "204", "304", "418"),
        some("x-test-length", "0", "1", "70000"),
        some("cookie", "a=1; b=2"),
        some("user-agent", "curl/8"),
        some("accept-encoding", "gzip"),
        some("te", "trailers", "gzip"),
        some("under_score", "1"),
        some("connection", "keep-alive", "close", "x-user", "keep-alive, x-beta"),
        some("x-forwarded-host", "evil.example.com"),
        some("expect", "100-continue"),
      )
      .map((parts): Record<string, string> => Object.assign({}, ...parts) as Record<string, string>),
    body: fc.option(fc.string({ maxLength: 2000 }), { nil: undefined }),
    chunked: fc.boolean(),
  })
  // Envoy frames its refusal of a fragment as an answer to HEAD; ours refuses before it knows of a method.
  .filter(({ method, path }) => method !== "HEAD" || !path.includes("#"))
  .map(({ method, host, path, headers, body, chunked }): Ask => {
    const withBody = body !== undefined && ["POST", "PUT", "PATCH"].includes(method);
    return {
      method,
      path,
      headers: {
        host,
        ...headers,
        ...(withBody
          ? chunked
            ? { "transfer-encoding": "chunked" }
            : { "content-length": `${Buffer.byteLength(body)}` }
          : {}),
      },
      ...(withBody ? { body } : {}),
    };
  });

describe("native proxy and Envoy", () => {
  test(`answer ${REQUESTS} generated requests alike`, async () => {
    const requests = fc.sample(request, {
      seed: Number(process.env["SLUICE_DIFFERENTIAL_SEED"] ?? 20261121),
      numRuns: REQUESTS,
    });
    const differences: string[] = [];
    for (const each of requests) {
      const [ours, theirs] = await Promise.all(
        [native, envoyPort].map(async (port) => comparable(await ask(port, { ...each, agent }), each)),
      );
      const lines = differingFields(ours, theirs);
      if (lines.length > 0) differences.push(`${JSON.stringify(each)}\n    ${lines.join("\n    ")}`);
    }
    expect(requests.length).toBeGreaterThanOrEqual(300);
    expect(differences.slice(0, 20).join("\n")).toBe("");
  });

  test("share the load by the same weights", async () => {
    for (const port of [native, envoyPort]) {
      const counts: Record<string, number> = {};
      for (let i = 0; i < 400; i++) {
        const answer = await ask(port, { path: "/api/list", headers: { host: "orders.example.com" }, agent });
        const { upstream } = JSON.parse(answer.body) as Echo;
        counts[upstream] = (counts[upstream] ?? 0) + 1;
      }
      expect(Math.abs((counts["u9101"] ?? 0) - 300)).toBeLessThanOrEqual(2);
    }
  });

  test("send each user to the same node", async () => {
    for (let user = 0; user < 100; user++) {
      const [ours, theirs] = await Promise.all(
        [native, envoyPort].map(async (port) => {
          const headers = { host: "orders.example.com", "x-beta": "1", "x-user": `user-${user}` };
          return (JSON.parse((await ask(port, { path: "/api/list?page=3", headers, agent })).body) as Echo).upstream;
        }),
      );
      expect(ours).toBe(theirs);
    }
  });

  test("upgrade to WebSocket where the route allows it, and only there", async () => {
    for (const port of [native, envoyPort]) {
      const headers = { host: "orders.example.com" };
      expect(await webSocketEcho(`ws://127.0.0.1:${port}/api/live`, "hello", headers)).toBe("hello");
      await expect(webSocketEcho(`ws://127.0.0.1:${port}/api/list`, "hello", headers)).rejects.toThrow(" 403 ");
    }
  });
});
