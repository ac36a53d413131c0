/**
 * The same HTTP/2 frames of broken and fickle clients and endpoints to the native proxy and to a real Envoy: what their logs say of it, how the stream ends, and what
 * the codec counts.
 */
import type { JsonObject } from "@bufbuild/protobuf";
import { afterAll, beforeAll, expect, test } from "vitest";

import { TestServer } from "../support/data-path.ts";
import { RawClient } from "../support/raw-client.ts";
import * as h2 from "../support/http2-frames.ts";
import { frame, frames, head, rawHttp2Origin, uint32 } from "../support/raw-http2-origin.ts";
import { clusterJson, startTwins, type Twins } from "../support/twins.ts";
import { waitFor } from "../support/wait.ts";

type Field = readonly [string, string];

const OPENING = Buffer.concat([h2.PREFACE, h2.frame(h2.SETTINGS, 0, 0)]).toString("latin1");
const FORMAT = "%RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS%\n";

/** All requests to one cluster. A message that is malformed ends its stream, as it always does with us. */
const listener = (name: string, cluster: string): JsonObject => ({
  http2ProtocolOptions: { overrideStreamErrorOnInvalidHttpMessage: true },
  accessLog: [
    {
      name: "file",
      typedConfig: {
        "@type": "type.googleapis.com/envoy.extensions.access_loggers.file.v3.FileAccessLog",
        path: `$LOG/${name}.log`,
        logFormat: { textFormatSource: { inlineString: FORMAT } },
      },
    },
  ],
  routeConfig: {
    name: "table",
    virtualHosts: [{ name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster } }] }],
  },
});

/** A cluster's message without its name. */
function endpoint(name: string, port: number, more: JsonObject = {}): JsonObject {
  const { name: _, ...rest } = clusterJson(name, port);
  return { ...rest, ...more };
}

const http2 = {
  typedExtensionProtocolOptions: {
    "envoy.extensions.upstreams.http.v3.HttpProtocolOptions": {
      "@type": "type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions",
      explicitHttpConfig: { http2ProtocolOptions: {} },
    },
  },
};

const origins: TestServer[] = [];
let twins: Twins;
/** What the HTTP/2 origin sends for a request. */
let answer: (streamId: number) => Buffer;
/** Requests that the other origin has. */
let asked = 0;

beforeAll(async () => {
  const silent = await TestServer.http(() => void asked++);
  const raw = await rawHttp2Origin((streamId) => answer(streamId));
  origins.push(silent, raw);
  twins = await startTwins({
    clusters: { silent: endpoint("silent", silent.port), raw: endpoint("raw", raw.port, http2) },
    listeners: { clients: listener("clients", "silent"), endpoints: listener("endpoints", "raw") },
  });
});

afterAll(async () => {
  await twins?.stop();
  for (const origin of origins) await origin[Symbol.asyncDispose]();
});

const sides = ["native", "envoy"] as const;
const headers = (fields: readonly Field[], end = true): Buffer =>
  h2.frame(h2.HEADERS, h2.END_HEADERS | (end ? h2.END_STREAM : 0), 1, h2.fields(...fields));
const codec = /^http2\.(rx_reset|rx_messaging_error|header_overflow|goaway_sent|stream_refused_errors)$/;

/** What the codec has counted, but for zeros. */
async function counted(): Promise<Record<(typeof sides)[number], Map<string, number>>> {
  const stats = await twins.stats();
  const of = (all: Map<string, string>) =>
    new Map([...all].filter(([name]) => codec.test(name)).map(([name, value]) => [name, Number(value)]));
  return { native: of(stats.native), envoy: of(stats.envoy) };
}

const lines: Record<string, number> = {};

/** Both logs' next line. */
async function logged(name: string): Promise<{ native: string | undefined; envoy: string | undefined }> {
  const before = lines[name] ?? 0;
  const both = await twins.lines(`${name}.log`, before + 1);
  lines[name] = before + 1;
  return { native: both.native[before], envoy: both.envoy[before] };
}

const POST: readonly Field[] = [[":method", "POST"], ...h2.GET.slice(1)];

const broken: [string, Buffer, Buffer?][] = [
  ["a name in capitals", headers([...h2.GET, ["X-A", "b"]])],
  ["connection", headers([...h2.GET, ["connection", "close"]])],
  ["te other than trailers", headers([...h2.GET, ["te", "gzip"]])],
  ["a pseudo-header behind a field", headers([["a", "b"], ...h2.GET])],
  ["host twice", headers([...h2.GET, ["host", "a.test"], ["host", "a.test"]])],
  ["no path", headers(h2.GET.filter(([name]) => name !== ":path"))],
  ["too many fields", headers([...h2.GET, ...Array.from({ length: 150 }, (_, i) => [`x-${i}`, "a"] as const)])],
  ["trailers that do not end the stream", headers(POST, false), headers([["a", "b"]], false)],
  ["a reset by CANCEL", headers(h2.GET), h2.frame(h2.RST_STREAM, 0, 1, uint32(8))],
  ["a reset by NO_ERROR", headers(h2.GET), h2.frame(h2.RST_STREAM, 0, 1, uint32(0))],
  ["a reset by REFUSED_STREAM", headers(h2.GET), h2.frame(h2.RST_STREAM, 0, 1, uint32(7))],
  ["a reset by an unknown code", headers(h2.GET), h2.frame(h2.RST_STREAM, 0, 1, uint32(77))],
];

test.each<[string, Buffer, Buffer?]>(broken)("a client's request with %s", async (_title, begin, next) => {
  const before = await counted();
  for (const side of sides) {
    const seen = asked;
    using client = new RawClient(twins.ports[side]["clients"] as number);
    client.send(OPENING + begin.toString("latin1"));
    // Once a request has arrived what follows finds it under way.
    if (next !== undefined) {
      await waitFor("the request", async () => asked > seen);
      client.send(next.toString("latin1"));
    }
    await waitFor("its line", async () => {
      const both = await twins.lines("clients.log", lines["clients"] ?? 0);
      return both[side].length > (lines["clients"] ?? 0);
    });
  }
  const { native, envoy } = await logged("clients");
  expect(native).toBe(envoy);
  await waitFor("the same counts", async () => {
    const after = await counted();
    const grown = (side: (typeof sides)[number]) => {
      const all = [...after[side]].map(([name, value]) => ({ name, by: value - (before[side].get(name) ?? 0) }));
      return new Set(all.filter(({ by }) => by !== 0).map(({ name, by }) => `${name} ${by}`));
    };
    expect(grown("native")).toEqual(grown("envoy"));
    return true;
  });
});

const data = (id: number, flags: number, text: string): Buffer => frame(frames.data, flags, id, text);
const OK: [string, string] = [":status", "200"];

const answers: [string, (id: number) => Buffer, string?][] = [
  ["that is fine", (id) => Buffer.concat([head(id, 0, OK), data(id, 1, "hi")])],
  ["to HEAD that has content", (id) => Buffer.concat([head(id, 0, OK), data(id, 1, "hi")]), "HEAD"],
  ["to HEAD that has a content-length", (id) => head(id, 1, OK, ["content-length", "5"]), "HEAD"],
  ["of 204 that has content", (id) => Buffer.concat([head(id, 0, [":status", "204"]), data(id, 1, "hi")])],
  ["of 204 that has a content-length", (id) => head(id, 1, [":status", "204"], ["content-length", "5"])],
  ["of 304 that has content", (id) => Buffer.concat([head(id, 0, [":status", "304"]), data(id, 1, "hi")])],
  ["of 304 that has a content-length", (id) => head(id, 1, [":status", "304"], ["content-length", "5"])],
  [
    "of too many fields",
    (id) => head(id, 1, OK, ...Array.from({ length: 150 }, (_, i): [string, string] => [`x-${i}`, "a"])),
  ],
  ["with a name in capitals", (id) => head(id, 1, OK, ["X-A", "a"])],
  ["with te", (id) => head(id, 1, OK, ["te", "gzip"])],
  [
    "that is shorter than it says",
    (id) => Buffer.concat([head(id, 0, OK, ["content-length", "10"]), data(id, 1, "hi")]),
  ],
  [
    "that is shorter than it says, and has trailers",
    (id) => Buffer.concat([head(id, 0, OK, ["content-length", "10"]), data(id, 0, "hi"), head(id, 1, ["a", "b"])]),
  ],
  ["of a head alone that speaks of content", (id) => head(id, 1, OK, ["content-length", "10"])],
  ["that is longer than it says", (id) => Buffer.concat([head(id, 0, OK, ["content-length", "1"]), data(id, 1, "hi")])],
  ["without a head", (id) => data(id, 1, "hi")],
  [
    "whose trailers do not end it",
    (id) => Buffer.concat([head(id, 0, OK), data(id, 0, "hi"), head(id, 0, ["a", "b"])]),
  ],
  ["of 103 alone", (id) => head(id, 1, [":status", "103"])],
  ["of 101", (id) => head(id, 1, [":status", "101"])],
  ["that is reset by CANCEL", (id) => frame(frames.rstStream, 0, id, uint32(8))],
  ["that is reset by REFUSED_STREAM", (id) => frame(frames.rstStream, 0, id, uint32(7))],
  ["that is reset by NO_ERROR", (id) => frame(frames.rstStream, 0, id, uint32(0))],
  [
    "that is reset by NO_ERROR amid its body",
    (id) => Buffer.concat([head(id, 0, OK), data(id, 0, "hi"), frame(frames.rstStream, 0, id, uint32(0))]),
  ],
  ["with a WINDOW_UPDATE of 0", (id) => frame(frames.windowUpdate, 0, id, uint32(0))],
];

test.each<[string, (id: number) => Buffer, string?]>(answers)(
  "an endpoint's response %s",
  async (_title, make, method = "GET") => {
    answer = make;
    for (const side of sides) {
      using client = new RawClient(twins.ports[side]["endpoints"] as number);
      client.send(OPENING + headers([[":method", method], ...h2.GET.slice(1)]).toString("latin1"));
      const isEnd = ({ type, streamId, flags }: ReturnType<typeof h2.framesOf>[number]) =>
        streamId === 1 && (type === h2.RST_STREAM || (flags & h2.END_STREAM) !== 0);
      await client.until((text) => h2.framesOf(text).some(isEnd));
    }
    const { native, envoy } = await logged("endpoints");
    expect(native).toBe(envoy);
  },
);

test("what Prometheus is told of the codec", async () => {
  const { native, envoy } = await twins.prometheus();
  const metric = /^(envoy_(?:cluster_)?http2_(?:rx_reset|streams_active|trailers))(?:\{(.*)\})? \d+$/gm;
  // Envoy writes braces around no tags as well.
  const named = (text: string) =>
    new Set(Array.from(text.matchAll(metric), ([, name, tags = ""]) => `${name}{${tags}}`));
  expect(named(native).size).toBe(6);
  expect(named(native)).toEqual(named(envoy));
});
