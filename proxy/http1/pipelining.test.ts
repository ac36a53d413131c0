/** Clients that ask on and on and take nothing: their responses must not pile up. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";

const BODY = "x".repeat(8_000);
const REQUESTS = 8_000;
const GETS = "GET / HTTP/1.1\r\nHost: h\r\n\r\n".repeat(REQUESTS);

const start = async (http: Parameters<typeof DataPath.start>[0]["http"] = {}) => {
  const origin = await TestServer.http((_, response) => response.end(BODY));
  const path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]), http });
  return { origin, path };
};

/** Waits until nothing more is answered; how much was. */
async function answeredUntilQuiet(path: DataPath): Promise<number> {
  let [answered, since] = [0, performance.now()];
  await until(() => {
    if (path.records.length !== answered) [answered, since] = [path.records.length, performance.now()];
    return answered > 0 && performance.now() - since > 500;
  });
  return answered;
}

test.each([false, true])(
  "nothing is answered beyond what fits on the way, nor lost; the client ends its half: %s",
  async (ends) => {
    const { origin, path } = await start();
    await using _origin = origin;
    await using _path = path;
    using client = new RawClient(path.port);
    client.socket.pause();
    client.send(GETS);
    if (ends) client.socket.end();
    // Buffers of two kernels and of both ends are some 10 MB; all responses are 64.
    expect(await answeredUntilQuiet(path)).toBeLessThan(REQUESTS / 2);
    client.socket.resume();
    await until(() => path.records.length === REQUESTS);
    await client.until((text) => text.split("HTTP/1.1 200 OK").length === REQUESTS + 1 && text.endsWith(BODY));
  },
);

test("a client that never takes them loses its connection", async () => {
  const { origin, path } = await start({ streamIdleTimeoutMs: 300 });
  await using _origin = origin;
  await using _path = path;
  using client = new RawClient(path.port);
  client.socket.pause();
  client.send(GETS);
  await until(() => path.records.length > 0 && path.stats.get("downstream_cx_active") === 0);
  expect(path.records.length).toBeLessThan(REQUESTS / 2);
  // On a machine that stands still for as long, requests that wait for the origin run out of time, too.
  expect(path.stats.get("downstream_rq_idle_timeout")).toBeGreaterThan(0);
});
