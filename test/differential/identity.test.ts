/** Who the client is, by every option of HttpConnectionManager that says so: the upstream must be told the same by both data planes. */
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { Answer } from "../support/http.ts";
import { type Manager, startTwins, type Twins } from "../support/twins.ts";
import { type Echo, startUpstream, type Upstream } from "../support/upstream.ts";

let upstream: Upstream;
let twins: Twins;

const add = (key: string, value: string) => ({ header: { key, value } });
const routeConfig: JsonObject = {
  name: "table",
  internalOnlyHeaders: ["x-only-internal"],
  requestHeadersToAdd: [
    add("x-client", "%DOWNSTREAM_REMOTE_ADDRESS%"),
    add("x-client-ip", "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%"),
    add("x-peer-ip", "%DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT%"),
  ],
  virtualHosts: [
    {
      name: "tls",
      domains: ["tls.test"],
      requireTls: "EXTERNAL_ONLY",
      routes: [{ match: { prefix: "/" }, route: { cluster: "up" } }],
    },
    { name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "up" } }] },
  ],
};

const XFF = "type.googleapis.com/envoy.extensions.http.original_ip_detection.xff.v3.XffConfig";
const CUSTOM = "type.googleapis.com/envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig";
const custom = (more: object) => ({
  name: "custom",
  typedConfig: { "@type": CUSTOM, headerName: "x-real-ip", ...more },
});
const internalAddressConfig = { cidrRanges: [{ addressPrefix: "10.0.0.0", prefixLen: 8 }] };
const loopbackInternal = { cidrRanges: [{ addressPrefix: "127.0.0.0", prefixLen: 8 }] };

const listeners: Record<string, Manager> = {
  edge: { useRemoteAddress: true },
  "edge behind one proxy": { useRemoteAddress: true, xffNumTrustedHops: 1 },
  "edge behind two proxies": { useRemoteAddress: true, xffNumTrustedHops: 2, appendXForwardedPort: true },
  "edge that appends nothing": { useRemoteAddress: true, skipXffAppend: true },
  "edge with its own port": { useRemoteAddress: true, appendXForwardedPort: true },
  "edge whose peers are internal": { useRemoteAddress: true, internalAddressConfig: loopbackInternal },
  "edge that keeps ids": { useRemoteAddress: true, preserveExternalRequestId: true },
  trusted: {},
  "trusted with two hops": { xffNumTrustedHops: 1 },
  "trusted and internal": { internalAddressConfig },
  "trusted with its own port": { appendXForwardedPort: true },
  "by xff extension": {
    originalIpDetectionExtensions: [{ name: "xff", typedConfig: { "@type": XFF, xffNumTrustedHops: 1 } }],
  },
  "by header": { originalIpDetectionExtensions: [custom({})] },
  "by trusted header": {
    originalIpDetectionExtensions: [custom({ allowExtensionToSetAddressAsTrusted: true })],
    internalAddressConfig,
  },
  "by header or not at all": {
    originalIpDetectionExtensions: [custom({ rejectWithStatus: { code: "Unauthorized" } })],
  },
  "forwards certificates": { forwardClientCertDetails: "ALWAYS_FORWARD_ONLY" },
  "forwards verified certificates": { forwardClientCertDetails: "FORWARD_ONLY" },
  "names itself": {
    useRemoteAddress: true,
    via: "sluice",
    serverName: "mine",
    serverHeaderTransformation: "APPEND_IF_ABSENT",
  },
  "shows ids": { useRemoteAddress: true, alwaysSetRequestIdInResponse: true, preserveExternalRequestId: true },
};

beforeAll(async () => {
  upstream = await startUpstream("only");
  twins = await startTwins({
    clusters: { up: upstream.port },
    listeners: Object.fromEntries(
      Object.entries(listeners).map(([name, manager]) => [name, { ...manager, routeConfig }]),
    ),
  });
});

afterAll(async () => {
  await twins?.stop();
  await upstream?.close();
});

const requests: Record<string, Record<string, string | string[]>> = {
  bare: {},
  "one hop": { "x-forwarded-for": "203.0.113.9" },
  "two hops": { "x-forwarded-for": "203.0.113.9, 10.1.2.3", "x-forwarded-proto": "https", "x-forwarded-port": "9" },
  "three hops in two fields": { "x-forwarded-for": ["203.0.113.9,198.51.100.1", "10.1.2.3"] },
  "an internal hop": { "x-forwarded-for": "10.1.2.3" },
  "an IPv6 hop": { "x-forwarded-for": "203.0.113.9, 2001:db8::1" },
  "a hop that is no address": { "x-forwarded-for": "203.0.113.9, unknown" },
  "an empty hop": { "x-forwarded-for": "203.0.113.9," },
  "a header": { "x-real-ip": "10.9.9.9", "x-forwarded-for": "203.0.113.9" },
  "a header that is no address": { "x-real-ip": "x" },
  "fields of Envoy": {
    "x-envoy-internal": "true",
    "x-envoy-external-address": "1.2.3.4",
    "x-envoy-original-path": "/x",
    "x-envoy-original-host": "x",
    "x-envoy-decorator-operation": "op",
    "x-envoy-downstream-service-cluster": "c",
    "x-envoy-downstream-service-node": "n",
    "x-envoy-retriable-status-codes": "500",
    "x-envoy-force-trace": "true",
    "x-envoy-ip-tags": "x",
    "x-envoy-upstream-alt-stat-name": "x",
    "x-forwarded-client-cert": "Hash=1",
    "x-only-internal": "1",
    "x-other": "1",
  },
  "an id": { "x-request-id": "2f0b7d5e-0000-4000-8000-000000000000" },
  "an id that is none": { "x-request-id": "mine" },
  "https wanted": { host: "tls.test" },
  "https wanted of an internal hop": { host: "tls.test", "x-forwarded-for": "10.1.2.3" },
};

function comparable({ status, headers, body }: Answer): unknown {
  const { date: _, "x-envoy-upstream-service-time": __, "content-length": ___, ...rest } = headers;
  const id = (value: unknown) => (/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(String(value)) ? "an id" : value);
  rest["x-request-id"] &&= String(id(rest["x-request-id"]));
  if (headers["content-type"] !== "application/json") return { status, headers: rest, body };
  const echo = JSON.parse(body) as Echo;
  const seen = { ...echo.headers };
  // Each connection has another port, and for a client on its own machine Envoy names its own address instead of the client's.
  if (seen["x-client"]?.startsWith("127.0.0.1:")) seen["x-client"] = "the peer";
  if (seen["x-forwarded-port"] !== "9")
    seen["x-forwarded-port"] &&= String(seen["x-forwarded-port"]).replace(/^\d{4,5}$/, "its own");
  if (seen["x-forwarded-for"] !== undefined) {
    seen["x-forwarded-for"] = seen["x-forwarded-for"].replace(
      /(^|,)(127\.0\.0\.1|\d+\.\d+\.\d+\.\d+)$/,
      (all, comma: string) => (requestsHold(all.replace(",", "")) ? all : `${comma}the peer`),
    );
  }
  seen["x-request-id"] = String(
    id(seen["x-request-id"]) === "an id" && seen["x-request-id"]?.includes("-0000-")
      ? "kept"
      : id(seen["x-request-id"]),
  );
  return { status, headers: rest, echo: { ...echo, headers: seen } };
}

const requestsHold = (address: string) =>
  Object.values(requests).some((one) => String(one["x-forwarded-for"]).includes(address));

test.each(Object.keys(listeners))("%s", async (listener) => {
  for (const [name, headers] of Object.entries(requests)) {
    const { native, envoy } = await twins.ask(listener, { headers: { host: "any.test", ...headers } });
    expect(comparable(native), name).toEqual(comparable(envoy));
  }
});
