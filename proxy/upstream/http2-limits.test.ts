/** How many requests an endpoint takes on one HTTP/2 connection (SETTINGS_MAX_CONCURRENT_STREAMS), and what is done before it has said so. */
import { createServer } from "node:http2";

import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { exchange } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";

const GET = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

/** An endpoint with such a limit, and the data path to it. */
async function start(maxConcurrentStreams: number) {
  const server = createServer({ settings: { maxConcurrentStreams } });
  server.on("stream", (stream) => {
    stream.on("error", () => {});
    stream.respond();
    stream.end("ok");
  });
  const origin = await TestServer.listen(server);
  const path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)], { protocol: "http2" }) });
  return {
    ...{ origin, path },
    async [Symbol.asyncDispose]() {
      await path[Symbol.asyncDispose]();
      await origin[Symbol.asyncDispose]();
    },
  };
}

test("a burst on a new connection is not refused for what the endpoint had no time to say", async () => {
  await using rig = await start(100);
  const answers = await Promise.all(Array.from({ length: 300 }, () => exchange(rig.path.port, GET)));
  expect(answers.filter((answer) => !answer.startsWith("HTTP/1.1 200 "))).toEqual([]);
  expect(rig.path.stats.get("cluster.http2.rx_reset")).toBe(0);
});

test("an endpoint that takes no request now is asked again with the next one, and isn't flooded with connections", async () => {
  await using rig = await start(0);
  for (let n = 1; n <= 4; n++) {
    expect(await exchange(rig.path.port, GET)).toMatch(/^HTTP\/1.1 50[23] /);
    await until(() => rig.path.records.length === n);
    expect(rig.origin.accepted).toBeLessThanOrEqual(n);
  }
});
