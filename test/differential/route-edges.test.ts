/** Where routes have edges: fields that come twice, what a trusted proxy says of the scheme, answers that say where they are, and rewrites to nothing. */
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { Answer, Ask } from "../support/http.ts";
import { startTwins, type Twins } from "../support/twins.ts";
import { type Echo, startUpstream, type Upstream } from "../support/upstream.ts";

let upstream: Upstream;
let twins: Twins;

const say = (status: number, text: string): JsonObject => ({ status, body: { inlineString: text } });
const range = { rangeMatch: { start: 0, end: 10 } };
const matchers: Record<string, JsonObject> = {
  range,
  "no-range": { ...range, invertMatch: true },
  exact: { stringMatch: { exact: "a" } },
  "not-exact": { stringMatch: { exact: "a" }, invertMatch: true },
  joined: { stringMatch: { exact: "a,b" } },
  regex: { stringMatch: { safeRegex: { regex: "a|[0-9]+" } } },
  "or-nothing": { stringMatch: { exact: "a" }, invertMatch: true, treatMissingHeaderAsEmpty: true },
};

const routeConfig = {
  name: "table",
  virtualHosts: [
    {
      name: "all",
      domains: ["*"],
      routes: [
        ...Object.entries(matchers).flatMap(([name, matcher]) => [
          { match: { path: `/${name}`, headers: [{ name: "x-n", ...matcher }] }, directResponse: say(200, "hit") },
          { match: { path: `/${name}` }, directResponse: say(200, "miss") },
        ]),
        { match: { path: "/cluster" }, route: { clusterHeader: "x-cluster" } },
        { match: { path: "/created" }, directResponse: say(201, "created") },
        { match: { path: "/choices" }, directResponse: { status: 300 } },
        { match: { path: "/same" }, directResponse: { status: 304 } },
        { match: { path: "/said" }, directResponse: say(503, "not now\n") },
        { match: { path: "/moved" }, redirect: { pathRedirect: "/there" } },
        {
          match: { prefix: "/literal" },
          route: { cluster: "up", regexRewrite: { pattern: { regex: "^/literal" }, substitution: "" } },
        },
        {
          match: { prefix: "/pattern" },
          route: { cluster: "up", regexRewrite: { pattern: { regex: "^/[a-z]+" }, substitution: "" } },
        },
        { match: { prefix: "/" }, route: { cluster: "up", timeout: "60.0015s" } },
      ],
    },
  ],
} as JsonObject;

beforeAll(async () => {
  upstream = await startUpstream("only");
  twins = await startTwins({
    clusters: { up: upstream.port },
    listeners: {
      edge: { useRemoteAddress: true, routeConfig },
      behind: { useRemoteAddress: true, xffNumTrustedHops: 1, routeConfig },
    },
  });
});

afterAll(async () => {
  await twins?.stop();
  await upstream?.close();
});

function comparable({ status, headers, body }: Answer) {
  const { date: _, "x-envoy-upstream-service-time": __, "content-length": ___, ...rest } = headers;
  if (headers["content-type"] !== "application/json") return { status, headers: rest, body };
  const { path, headers: seen } = JSON.parse(body) as Echo;
  return { status, headers: rest, path, expected: seen["x-envoy-expected-rq-timeout-ms"] };
}

async function both(listener: "edge" | "behind", request: Ask) {
  const { native, envoy } = await twins.ask(listener, {
    ...request,
    headers: { host: "a.test", ...request.headers },
  });
  expect(comparable(native)).toEqual(comparable(envoy));
  return comparable(native);
}

const values: string[][] = [
  [],
  ["5"],
  ["5", "50"],
  ["50", "5"],
  ["50", "60"],
  ["a", "b"],
  ["b", "a"],
  ["b", "c"],
  ["a,b"],
  [""],
];

test.each(Object.keys(matchers))("%s: of several fields of a name, one must fit", async (name) => {
  for (const sent of values)
    await both("edge", { path: `/${name}`, headers: sent.length === 0 ? {} : { "x-n": sent } });
});

test("a value that fits counts behind one that doesn't", async () => {
  expect(await both("edge", { path: "/exact", headers: { "x-n": ["b", "a"] } })).toMatchObject({ body: "hit" });
  expect(await both("edge", { path: "/not-exact", headers: { "x-n": ["b", "a"] } })).toMatchObject({ body: "miss" });
});

test("the first field names the cluster", async () => {
  const headers = { "x-cluster": ["up", "down"] };
  expect(await both("edge", { path: "/cluster", headers })).toMatchObject({ status: 200 });
});

test.each(["/created?a=b", "/choices", "/same", "/said"])(
  "%s says where it is, if its status asks for it",
  async (path) => {
    const { headers } = await both("edge", { path });
    expect(headers.location).toBe(path === "/said" ? undefined : `http://a.test${path}`);
  },
);

test("a gRPC client is told what a direct response says, unless it asks for the head alone", async () => {
  const headers = { "content-type": "application/grpc" };
  expect((await both("edge", { path: "/said", headers })).headers["grpc-message"]).toBe("not now%0A");
  expect((await both("edge", { path: "/said", method: "HEAD", headers })).headers["grpc-message"]).toBeUndefined();
});

test("redirects keep the scheme that a trusted proxy tells", async () => {
  const of = async (listener: "edge" | "behind", proto: string) =>
    (await both(listener, { path: "/moved", headers: { "x-forwarded-proto": proto } })).headers.location;
  expect(await of("behind", "https")).toBe("https://a.test/there");
  expect(await of("behind", "http")).toBe("http://a.test/there");
  expect(await of("behind", "ftp")).toBe("http://a.test/there");
  expect(await of("edge", "https")).toBe("http://a.test/there");
});

test.each(["/literal", "/literal?a=b", "/pattern", "/pattern?a=b", "/literal/x?y", "/pattern/x?y"])(
  "%s: a path of which a rewrite leaves nothing stays",
  async (path) => {
    const left = path.replace(/^\/[a-z]+(?=\/)/, "");
    expect(await both("edge", { path })).toMatchObject({ status: 200, path: left });
  },
);

test("an upstream is told of whole milliseconds", async () => {
  expect(await both("edge", { path: "/late" })).toMatchObject({ expected: "60001" });
});
