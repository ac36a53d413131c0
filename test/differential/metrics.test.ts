/** Statistics by Envoy's names: after the same traffic both data planes must have counted the same. */
import { expect, test } from "vitest";

import { startTwins } from "../support/twins.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const ofManager = [
  "downstream_cx_total",
  "downstream_rq_total",
  "downstream_rq_completed",
  "downstream_rq_active",
  "downstream_rq_2xx",
  "downstream_rq_3xx",
  "downstream_rq_4xx",
  "downstream_rq_5xx",
  "downstream_rq_http1_total",
  "downstream_rq_http2_total",
  "downstream_rq_failed_path_normalization",
  "downstream_rq_redirected_with_normalized_path",
  "downstream_rq_rejected_via_ip_detection",
  "rq_total",
  "rq_direct_response",
  "no_route",
  "no_cluster",
];
const ofCluster = [
  "upstream_rq_total",
  "upstream_rq_200",
  "upstream_rq_404",
  "upstream_rq_2xx",
  "upstream_rq_4xx",
  "upstream_rq_retry",
  "upstream_rq_retry_limit_exceeded",
  "upstream_rq_timeout",
  "upstream_rq_active",
];

test("after the same traffic the counts are the same", async () => {
  await using cleanup = new AsyncDisposableStack();
  const up = await startUpstream("up");
  cleanup.defer(() => up.close());
  const twins = await startTwins({
    clusters: { up: up.port },
    listeners: {
      main: {
        useRemoteAddress: true,
        normalizePath: true,
        pathWithEscapedSlashesAction: "UNESCAPE_AND_REDIRECT",
        routeConfig: {
          name: "table",
          virtualHosts: [
            {
              name: "all",
              domains: ["*"],
              routes: [
                { match: { prefix: "/slow" }, route: { cluster: "up", timeout: "0.5s" } },
                {
                  match: { prefix: "/retry" },
                  route: { cluster: "up", retryPolicy: { retryOn: "5xx", numRetries: 2 } },
                },
                { match: { prefix: "/direct" }, directResponse: { status: 200 } },
                { match: { prefix: "/redirect" }, redirect: { hostRedirect: "other.test" } },
                { match: { prefix: "/unknown" }, route: { clusterHeader: "x-cluster" } },
                { match: { prefix: "/a" }, route: { cluster: "up" } },
              ],
            },
          ],
        },
      },
      detecting: {
        originalIpDetectionExtensions: [
          {
            name: "header",
            typedConfig: {
              "@type":
                "type.googleapis.com/envoy.extensions.http.original_ip_detection.custom_header.v3.CustomHeaderConfig",
              headerName: "x-real-ip",
              rejectWithStatus: { code: "Unauthorized" },
            },
          },
        ],
        routeConfig: { name: "none", virtualHosts: [] },
      },
    },
  });
  cleanup.defer(() => twins.stop());

  const ask = (path: string, headers: Record<string, string> = {}) => twins.ask("main", { path, headers });
  await ask("/a");
  await ask("/a", { "x-test-status": "404" });
  await ask("/slow", { "x-test-delay-ms": "600000" });
  await ask("/retry", { "x-test-status": "503" });
  await ask("/direct");
  await ask("/redirect");
  await ask("/none");
  await ask("/unknown", { "x-cluster": "none" });
  await ask("/a%2fb");
  await ask("/a%00");
  await twins.ask("detecting", {});

  const names = [
    ...["main", "detecting"].flatMap((prefix) => ofManager.map((name) => `http.${prefix}.${name}`)),
    ...ofCluster.map((name) => `cluster.up.${name}`),
    ...Object.values(["main", "detecting"]).map((name) => `listener ${name}`),
  ];
  // A listener's statistics are named after its address, which is another on each side.
  const shown = (side: "native" | "envoy", all: Map<string, string>) =>
    Object.fromEntries(
      names.map((name) => {
        const [, listener] = name.split(" ");
        const stat =
          listener === undefined ? name : `listener.127.0.0.1_${twins.ports[side][listener]}.downstream_cx_total`;
        return [name, Number(all.get(stat) ?? -1)];
      }),
    );
  // The last requests may still be being put away.
  await waitFor("the same counts", async () => {
    const { native, envoy } = await twins.stats();
    expect(shown("native", native)).toEqual(shown("envoy", envoy));
    return true;
  });

  const { native, envoy } = await twins.prometheus();
  const typesOf = (text: string) =>
    new Map([...text.matchAll(/^# TYPE (\S+) (\S+)$/gm)].map(([, name, type]) => [name, type]));
  const theirs = typesOf(envoy);
  const unlike = [...typesOf(native)].filter(([name, type]) => theirs.get(name) !== type);
  // Envoy makes those of handshakes only for listeners with TLS; tls.test.ts compares them.
  const ofHandshakes = /^envoy_listener_(server_)?ssl_/;
  expect(unlike.filter(([name]) => !ofHandshakes.test(name ?? ""))).toEqual([]);
});
