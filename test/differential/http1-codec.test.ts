/** What the HTTP/1 codec counts, by Envoy's names: the same bytes to both data planes leave the same counts. */
import type { JsonObject } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { RawClient } from "../support/raw-client.ts";
import { startTwins } from "../support/twins.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const manager = (headersWithUnderscoresAction: string): JsonObject => ({
  commonHttpProtocolOptions: { headersWithUnderscoresAction },
  routeConfig: {
    name: "table",
    virtualHosts: [{ name: "all", domains: ["*"], routes: [{ match: { prefix: "/" }, route: { cluster: "up" } }] }],
  },
});

const codec = /^http1\.(dropped_headers|requests_rejected)_with_underscores(_in_headers)?$/;
const ofCodec = (all: Map<string, string>) => Object.fromEntries([...all].filter(([name]) => codec.test(name)));

test("names with underscores, dropped and refused", async () => {
  await using cleanup = new AsyncDisposableStack();
  const up = await startUpstream("up");
  cleanup.defer(() => up.close());
  const twins = await startTwins({
    clusters: { up: up.port },
    listeners: { drop: manager("DROP_HEADER"), reject: manager("REJECT_REQUEST"), allow: manager("ALLOW") },
  });
  cleanup.defer(() => twins.stop());

  for (const side of ["native", "envoy"] as const) {
    const ask = async (listener: string, fields: string): Promise<string> => {
      using client = new RawClient(twins.ports[side][listener] as number);
      client.send(`GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n${fields}\r\n`);
      return (await client.end()).slice(9, 12);
    };
    expect(await ask("drop", "x_a: 1\r\nX_B: 2\r\nx-c: 3\r\nx_a: 4\r\n")).toBe("200");
    expect(await ask("reject", "x_a: 1\r\nx_b: 2\r\n")).toBe("400");
    expect(await ask("reject", "x-a: 1\r\n")).toBe("200");
    expect(await ask("allow", "x_a: 1\r\n")).toBe("200");
  }

  const expected = {
    "http1.dropped_headers_with_underscores": "3",
    "http1.requests_rejected_with_underscores_in_headers": "1",
  };
  await waitFor("the same counts", async () => {
    const { native, envoy } = await twins.stats();
    expect({ native: ofCodec(native), envoy: ofCodec(envoy) }).toEqual({ native: expected, envoy: expected });
    return true;
  });
  const { native, envoy } = await twins.prometheus();
  const metric = /^(envoy_http1_(?:dropped|requests)_\w+)(?:\{(.*)\})? (\d+)$/gm;
  // Envoy writes braces around no tags as well.
  const lines = (text: string) =>
    new Set(Array.from(text.matchAll(metric), ([, name, tags = "", value]) => `${name} ${tags} ${value}`));
  expect(lines(native).size).toBe(2);
  expect(lines(native)).toEqual(lines(envoy));
});
