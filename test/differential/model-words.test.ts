/** What operators write, seen from outside: both data planes answer, redirect, change headers and shape their own answers as the gateway file says. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";

import { afterAll, beforeAll, expect, test } from "vitest";

import { type Collector, startCollector } from "../support/collector.ts";
import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { type Ask, ask } from "../support/http.ts";
import { waitFor } from "../support/wait.ts";

let planes: DataPlanes;
let collector: Collector;

/** Answers with the header fields that it got. */
const echo = createServer({ keepAliveTimeout: 0 }, (request, response) => {
  response.setHeader("x-powered-by", "echo").setHeader("x-kept", "yes");
  response.end(JSON.stringify(request.headers));
});

beforeAll(async () => {
  await new Promise<void>((resolve) => {
    echo.listen(0, "127.0.0.1", resolve);
  });
  const { port: echoPort } = echo.address() as AddressInfo;
  collector = await startCollector();
  planes = await startDataPlanes(
    (group, port) => `
gatewayGroups:
  - name: ${group}
    accessLog: { collector: "127.0.0.1:${collector.grpcPort}", logName: "log of ${group}" }
    tracing: { collector: "127.0.0.1:${collector.grpcPort}", serviceName: "traced ${group}" }
    listeners:
      - name: http
        address: 127.0.0.1
        port: ${port}
        http: { serverName: edge, maxHeaderKb: 8, underscores: reject, escapedSlashes: unescape, requestIdInResponse: true }
    localReplies:
      - { minStatus: 404, maxStatus: 404, body: '{"no":"%REQ(:PATH)%"}', contentType: application/json }
      - { minStatus: 500, status: 599, body: "sorry: %RESPONSE_CODE%" }
services:
  - name: s
    gatewayGroup: ${group}
    requestHeaders: { set: { X-Service: s, X-Both: service, X-Subject: "%DOWNSTREAM_PEER_SUBJECT%" } }
    responseHeaders: { remove: [X-Powered-By] }
    upstreams:
      - { name: default, nodes: [{ host: 127.0.0.1, port: ${echoPort} }] }
      - { name: down, nodes: [{ host: 127.0.0.1, port: 1 }] }
    routes:
      - { name: root, paths: [/], directResponse: { status: 200, body: hello } }
      - name: changed
        paths: [/changed/*]
        requestHeaders: { add: { X-Client: "%PROTOCOL%", X-Both: route }, remove: [X-Debug] }
        responseHeaders: { set: { X-Route: "100%%" } }
      - { name: secure, paths: [/secure/*], redirect: { scheme: https, port: 8443 } }
      - { name: moved, paths: [/moved], redirect: { host: new.test, path: /here, status: 308, stripQuery: true } }
      - { name: below, paths: ["/old/*"], redirect: { prefix: /new } }
      - { name: teapot, paths: [/teapot], directResponse: { status: 418 } }
      - { name: down, paths: [/down], upstream: down }
`,
    "a.test",
  );
});

afterAll(async () => {
  await planes?.stop();
  await collector?.close();
  echo.close();
});

/** The answer that both data planes give; it fails where they differ. */
async function answer(request: Ask) {
  const [native, envoy] = await Promise.all(
    [planes.native.port, planes.envoy.port].map(async (port) => {
      const { status, headers, body } = await ask(port, { headers: { host: "a.test" }, ...request });
      // Theirs by nature.
      const { date: _date, "x-envoy-upstream-service-time": _took, "x-request-id": id, ...rest } = headers;
      // What is refused before it is read as a request has none.
      if (status < 400) expect(id).toMatch(/^[0-9a-f-]{36}$/);
      return { status, headers: { ...rest }, body };
    }),
  );
  return { native, envoy };
}

test("a direct response has its status and body", async () => {
  const { native, envoy } = await answer({ path: "/" });
  expect(native).toMatchObject({ status: 200, body: "hello", headers: { server: "edge" } });
  expect(native).toEqual(envoy);
  expect((await answer({ path: "/teapot" })).native).toMatchObject({ status: 418, body: "" });
});

test("redirects keep what they don't name", async () => {
  const secure = await answer({ path: "/secure/a?b=c" });
  expect(secure.native).toMatchObject({ status: 301, headers: { location: "https://a.test:8443/secure/a?b=c" } });
  expect(secure.native).toEqual(secure.envoy);
  const moved = await answer({ path: "/moved?b=c" });
  expect(moved.native).toMatchObject({ status: 308, headers: { location: "http://new.test/here" } });
  expect(moved.native).toEqual(moved.envoy);
  const below = await answer({ path: "/old/a/b?c=d" });
  expect(below.native).toMatchObject({ status: 301, headers: { location: "http://a.test/new/a/b?c=d" } });
  expect(below.native).toEqual(below.envoy);
});

test("a route and its service change headers both ways", async () => {
  const { native, envoy } = await answer({ path: "/changed/x", headers: { host: "a.test", "x-debug": "1" } });
  expect(native?.headers).toMatchObject({ "x-route": "100%", "x-kept": "yes" });
  expect(native?.headers["x-powered-by"]).toBeUndefined();
  const [ours, theirs] = [native, envoy].map((plane) => {
    // Envoy names its own machine where the client is on it.
    const {
      "x-request-id": _id,
      "x-forwarded-for": _from,
      traceparent: _trace,
      tracestate: _state,
      ...rest
    } = JSON.parse(plane?.body ?? "{}");
    return rest;
  });
  expect(ours).toMatchObject({ "x-service": "s", "x-client": "HTTP/1.1", "x-both": "service, route" });
  expect(ours["x-debug"]).toBeUndefined();
  expect(ours).toEqual(theirs);
});

test("what a client puts where the gateway says who it is goes no further, also where there is nothing to say", async () => {
  const headers = { host: "a.test", "x-subject": "CN=admin", "x-service": "forged" };
  const { native, envoy } = await answer({ path: "/changed/x", headers });
  for (const plane of [native, envoy]) {
    expect(JSON.parse(plane?.body ?? "{}")).toMatchObject({ "x-subject": "", "x-service": "s" });
  }
});

test("answers of the data plane's own have the form that the group gives them", async () => {
  const missing = await answer({ path: "/nowhere" });
  expect(missing.native).toMatchObject({
    status: 404,
    body: '{"no":"/nowhere"}',
    headers: { "content-type": "application/json" },
  });
  expect(missing.native).toEqual(missing.envoy);
  const down = await answer({ path: "/down" });
  expect(down.native).toMatchObject({ status: 599, body: "sorry: 599" });
  expect(down.native).toEqual(down.envoy);
});

test("a listener's HTTP options hold", async () => {
  const large = await answer({ path: "/", headers: { host: "a.test", "x-large": "a".repeat(9_000) } });
  expect([large.native?.status, large.envoy?.status]).toEqual([431, 431]);
  const underscore = await answer({ path: "/", headers: { host: "a.test", x_y: "1" } });
  expect([underscore.native?.status, underscore.envoy?.status]).toEqual([400, 400]);
  const slash = await answer({ path: "/changed%2Fx" });
  expect([slash.native?.status, slash.envoy?.status]).toEqual([200, 200]);
});

test("collectors get traces and access logs, and the upstream its place in the trace", async () => {
  for (const [group, { port }] of [["default", planes.native] as const, ["envoy", planes.envoy] as const]) {
    const path = `/changed/traced-by-${group}`;
    const { body } = await ask(port, { path, headers: { host: "a.test" } });
    const [, traceId, spanId] = JSON.parse(body).traceparent.split("-") as string[];
    const span = await waitFor("the span", () =>
      collector.exports
        .flatMap(({ resourceSpans }) => resourceSpans)
        .filter(({ resource }) => JSON.stringify(resource?.attributes).includes(`traced ${group}`))
        .flatMap(({ scopeSpans }) => scopeSpans.flatMap(({ spans }) => spans))
        .find((each) => Buffer.from(each.traceId).toString("hex") === traceId),
    );
    expect(Buffer.from(span.spanId).toString("hex")).toBe(spanId);
    const entry = await waitFor("its entry", () =>
      collector.logs
        .filter(({ logName }) => logName === `log of ${group}`)
        .flatMap(({ entries }) => entries)
        .find(({ request }) => request?.path === path),
    );
    expect(entry.response?.responseCode).toBe(200);
  }
});
