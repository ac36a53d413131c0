/** Access log lines by command operators and filters: for the same requests both data planes must write the same. */
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import type { Ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { startTwins, type Twins } from "../support/twins.ts";
import { startUpstream, type Upstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

let upstream: Upstream;
let twins: Twins;

const FILE = "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog";
const log = (file: string, logFormat: JsonObject, filter?: JsonObject): JsonObject => ({
  name: file,
  ...(filter !== undefined && { filter }),
  typedConfig: { "@type": FILE, path: `$LOG/${file}`, logFormat },
});

/** Operators whose values don't depend on the run. Times only show whether there is one. */
const operators = [
  "REQ(:METHOD)",
  "REQ(:path):5",
  "REQ(x-none?x-case)",
  "REQ(x-none)",
  "REQ(host)",
  "RESP(x-upstream)",
  "RESP(x-none?content-type)",
  "TRAILER(x-none)",
  "PROTOCOL",
  "RESPONSE_CODE",
  "RESPONSE_CODE_DETAILS",
  "RESPONSE_FLAGS",
  "RESPONSE_FLAGS_LONG",
  "BYTES_RECEIVED",
  "BYTES_SENT",
  "UPSTREAM_CLUSTER",
  "UPSTREAM_CLUSTER_RAW",
  "UPSTREAM_HOST",
  "UPSTREAM_REMOTE_ADDRESS",
  "UPSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
  "UPSTREAM_REMOTE_PORT",
  "UPSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
  "UPSTREAM_REQUEST_ATTEMPT_COUNT",
  "UPSTREAM_TRANSPORT_FAILURE_REASON",
  "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT",
  "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT",
  "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT",
  "REQUESTED_SERVER_NAME",
  "ROUTE_NAME",
  "VIRTUAL_CLUSTER_NAME",
  "DYNAMIC_METADATA(none:key)",
  "FILTER_STATE(none:PLAIN)",
  "DOWNSTREAM_TLS_VERSION",
  "DOWNSTREAM_TLS_CIPHER",
  "DOWNSTREAM_TLS_SESSION_ID",
  "DOWNSTREAM_PEER_SUBJECT",
  "DOWNSTREAM_PEER_ISSUER",
  "DOWNSTREAM_PEER_SERIAL",
  "DOWNSTREAM_PEER_FINGERPRINT_256",
  "DOWNSTREAM_PEER_FINGERPRINT_1",
  "DOWNSTREAM_PEER_URI_SAN",
  "DOWNSTREAM_PEER_DNS_SAN",
  "DOWNSTREAM_PEER_CERT",
  "DOWNSTREAM_PEER_CERT_V_START",
  "DOWNSTREAM_PEER_CERT_V_END",
  "DOWNSTREAM_LOCAL_URI_SAN",
  "GRPC_STATUS",
  "GRPC_STATUS(SNAKE_STRING)",
  "GRPC_STATUS_NUMBER",
  "HOSTNAME",
  "CONNECTION_TERMINATION_DETAILS",
  "DOWNSTREAM_TRANSPORT_FAILURE_REASON",
  "ENVIRONMENT(HOME)",
  "ENVIRONMENT(SLUICE_NOT_SET)",
  "QUERY_PARAM(q)",
  "QUERY_PARAM(none)",
  "PATH",
  "PATH(NQ)",
  "PATH(WQ:PATH)",
  "PATH(NQ:ORIG)",
  "ACCESS_LOG_TYPE",
  "STREAM_ID",
];
const durations = [
  "DURATION",
  "REQUEST_DURATION",
  "RESPONSE_DURATION",
  "RESPONSE_TX_DURATION",
  "START_TIME",
  "START_TIME(%Y-%m-%dT%H:%M:%S.%3fZ)",
  "START_TIME(%s)",
];

const text = (form: string): JsonObject => ({ textFormatSource: { inlineString: form } });
const all = [...operators, ...durations];
const formats = {
  "text.log": text(`%REQ(x-case)%\t${all.map((one) => `${one.replaceAll("%", "%%")}=%${one}%`).join("\t")}\n`),
  "text-omit.log": { ...text(`%REQ(x-case)%\t${all.map((one) => `%${one}%`).join("\t")}\n`), omitEmptyValues: true },
  "json.log": { jsonFormat: Object.fromEntries([...all.map((one) => [one, `%${one}%`]), ["case", "%REQ(x-case)%"]]) },
  "json-omit.log": {
    jsonFormat: {
      case: "%REQ(x-case)%",
      mixed: "<%REQ(x-none)%|%RESPONSE_CODE%>",
      none: "%REQ(x-none)%",
      deep: { none: "%REQ(x-none)%" },
    },
    omitEmptyValues: true,
  },
} satisfies Record<string, JsonObject>;

const compare = (op: string, value: number) => ({
  comparison: { op, value: { defaultValue: value, runtimeKey: "none" } },
});
/** One request takes longer than either; the others mostly not. */
const GE_MS = 300;
const LE_MS = 200;
const server = { statusCodeFilter: compare("GE", 500) };
const marked = { headerFilter: { header: { name: "x-mark", presentMatch: true } } };
const filters: Record<string, JsonObject> = {
  "status-eq": { statusCodeFilter: compare("EQ", 404) },
  "status-ge": server,
  "status-le": { statusCodeFilter: compare("LE", 404) },
  "duration-ge": { durationFilter: compare("GE", GE_MS) },
  "duration-le": { durationFilter: compare("LE", LE_MS) },
  "not-health-check": { notHealthCheckFilter: {} },
  traceable: { traceableFilter: {} },
  "runtime-all": { runtimeFilter: { runtimeKey: "none", percentSampled: { numerator: 100 } } },
  "runtime-none": { runtimeFilter: { runtimeKey: "none" } },
  "runtime-half": { runtimeFilter: { runtimeKey: "none", percentSampled: { numerator: 50 } } },
  and: { andFilter: { filters: [server, marked] } },
  or: { orFilter: { filters: [server, marked] } },
  header: marked,
  "flags-any": { responseFlagFilter: {} },
  "flags-one": { responseFlagFilter: { flags: ["NR", "UO"] } },
  grpc: { grpcStatusFilter: { statuses: ["UNIMPLEMENTED", "UNAVAILABLE"] } },
  "grpc-not": { grpcStatusFilter: { statuses: ["UNIMPLEMENTED", "UNKNOWN"], exclude: true } },
  "type-end": { logTypeFilter: { types: ["DownstreamEnd"] } },
  "type-not-end": { logTypeFilter: { types: ["DownstreamEnd"], exclude: true } },
};

beforeAll(async () => {
  upstream = await startUpstream("only");
  twins = await startTwins({
    clusters: { up: upstream.port, dead: await freePort() },
    listeners: {
      main: {
        accessLog: [
          ...Object.entries(formats).map(([file, format]) => log(file, format)),
          ...Object.entries(filters).map(([name, filter]) => log(`${name}.log`, text("%REQ(x-case)%\n"), filter)),
          log("durations.log", text("%REQ(x-case)% %DURATION%\n")),
          log("default.log", text('%REQ(x-case)% %REQ(:METHOD)% "%REQ(USER-AGENT)%"\n')),
        ],
        routeConfig: {
          name: "table",
          virtualHosts: [
            {
              name: "all",
              domains: ["*"],
              routes: [
                {
                  name: "none",
                  match: { path: "/none" },
                  directResponse: { status: 404, body: { inlineString: "none" } },
                },
                { name: "dead", match: { prefix: "/dead" }, route: { cluster: "dead" } },
                {
                  name: "rewritten",
                  match: { prefix: "/old" },
                  route: { cluster: "up", prefixRewrite: "/new", hostRewriteLiteral: "new.test" },
                },
                { name: "all", match: { prefix: "/a" }, route: { cluster: "up" } },
              ],
            },
          ],
        },
      },
    },
  });
});

afterAll(async () => {
  await twins?.stop();
  await upstream?.close();
});

const id = (first: string) => ({ "x-request-id": `${first}-0000-4000-8000-000000000000` });
const cases: Record<string, Ask> = {
  plain: { path: "/a?q=1&q=2", headers: id("00000010") },
  body: { method: "POST", path: "/a", body: "12345", headers: { ...id("00000020"), "x-mark": "1" } },
  direct: { path: "/none", headers: id("00000031") },
  dead: { path: "/dead", headers: { ...id("00000041"), "x-mark": "1" } },
  rewritten: { path: "/old/x?q=%20", headers: id("0000005a") },
  "no-route": { path: "/zzz", headers: id("00000060") },
  slow: { path: "/a", headers: { ...id("00000070"), "x-test-delay-ms": "400" } },
  failed: { path: "/a", headers: { ...id("00000080"), "x-test-status": "503" } },
  quoted: { path: "/a", headers: { ...id("00000090"), "user-agent": 'a "b" \\ c' } },
  grpc: { path: "/a", headers: { ...id("000000a0"), "content-type": "application/grpc", "x-test-status": "404" } },
  "sent-empty": { path: "/a", headers: { ...id("000000b0"), "x-test-length": "0" } },
  "no-id": { path: "/a" },
};

/** Times become a mark of their form; ids that were made up, ports and the system's words go. */
const settled = (line: string) =>
  line
    .replace(/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z/g, "<time>")
    .replace(/(DURATION"?[=:])\d+/g, "$1<ms>")
    .replace(/(START_TIME\(%s\)"?[=:])"?\d{10}"?/g, "$1<s>")
    .replace(/([=\t":])[0-9a-f]{8}-(?!0000)[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/g, "$1<id>")
    .replace(/delayed_connect_error:_[^}|\t"]*/g, "<why>")
    .replace(/remote_connection_failure\|[^}]*/g, "remote_connection_failure|<why>")
    .replace(/(FAILURE_REASON"?[=:])(?!-|null)[^\t,]*/g, "$1<why>");

test("every operator", async () => {
  for (const [name, request] of Object.entries(cases)) {
    await twins.ask("main", { ...request, headers: { host: "any.test", "x-case": name, ...request.headers } });
  }
  const count = Object.keys(cases).length;
  for (const file of ["text.log", "json-omit.log", "json.log"]) {
    const { native, envoy } = await twins.lines(file, count);
    native.forEach((line, at) => {
      if (file.startsWith("json")) {
        expect(JSON.parse(settledJson(line)), file).toEqual(JSON.parse(settledJson(envoy[at] ?? "")));
      } else expect(settled(line).split("\t")).toEqual(settled(envoy[at] ?? "").split("\t"));
    });
  }
});

/** Times in JSON are numbers or text; what is compared is which of them. */
const settledJson = (line: string) =>
  settled(line).replaceAll("<ms>", "1").replaceAll(":<s>", ':"<s>"').replaceAll(":<why>", ':"<why>"');

test("every filter", async () => {
  await twins.lines("not-health-check.log", Object.keys(cases).length);
  for (const name of Object.keys(filters)) {
    if (name.startsWith("duration-")) continue;
    if (name === "traceable" || name.startsWith("type-not") || name === "runtime-none") continue;
    // Where the id was made up, it was drawn.
    const drawn = (lines: string[]) => lines.filter((line) => name !== "runtime-half" || line !== "no-id");
    // Each log is written at its own times.
    const alike = async () => {
      const { native, envoy } = await twins.lines(`${name}.log`, 1);
      expect(drawn(native), name).toEqual(drawn(envoy));
      return true;
    };
    await waitFor(`the lines of ${name}`, alike);
  }
  for (const name of ["traceable", "type-not-end", "runtime-none"]) {
    expect(await twins.lines(`${name}.log`, 0), name).toEqual({ native: [], envoy: [] });
  }
});

test.each([
  ["duration-ge", (ms: number) => ms >= GE_MS],
  ["duration-le", (ms: number) => ms <= LE_MS],
] as const)(
  "%s by the duration that each side logs: how long a request takes is the machine's affair",
  async (name, passes) => {
    const all = await twins.lines("durations.log", Object.keys(cases).length);
    for (const side of ["native", "envoy"] as const) {
      const expected = all[side].filter((line) => passes(Number(line.split(" ")[1]))).map((line) => line.split(" ")[0]);
      await waitFor("its lines", async () => {
        expect((await twins.lines(`${name}.log`, 0))[side]).toEqual(expected);
        return true;
      });
      expect(expected.includes("slow")).toBe(name === "duration-ge");
    }
  },
);
