/** POST /healthcheck/fail: clients go elsewhere, and come back. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { RawClient } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import { answering, compileJson, JsonListener } from "../../test/support/json-listener.ts";
import { startListener } from "./listener.ts";

const GET = "GET / HTTP/1.1\r\nHost: x\r\n\r\n";

/** Whether a connection is open after an answer. */
async function staysOpen(client: RawClient): Promise<boolean> {
  client.received = "";
  const text = await client.send(GET).until((received) => received.endsWith("hello"));
  return !text.includes("connection: close");
}

test.each(["DEFAULT", "MODIFY_ONLY"])(
  "drain_type %s decides whether failing health checks ends connections",
  async (drainType) => {
    let failed = false;
    await using it = await JsonListener.start([answering("hello")], { drainType }, { healthFailed: () => failed });
    using before = new RawClient(it.port);
    using idle = new RawClient(it.port);
    expect(await staysOpen(before)).toBe(true);
    expect(await staysOpen(idle)).toBe(true);
    failed = true;
    it.running.healthChanged();
    const stays = drainType === "MODIFY_ONLY";
    expect(await staysOpen(before)).toBe(stays);
    using during = new RawClient(it.port);
    expect(await staysOpen(during)).toBe(stays);
    if (!stays) await idle.end();
    failed = false;
    it.running.healthChanged();
    using after = new RawClient(it.port);
    expect([await staysOpen(after), await staysOpen(after)]).toEqual([true, true]);
  },
);

test("a listener without SO_REUSEPORT is refused", () => {
  const problems = (more: Parameters<typeof compileJson>[1]) => {
    const compiled = compileJson([answering("hello")], more);
    return compiled.ok ? [] : compiled.problems.map(({ field }) => field);
  };
  expect(problems({ enableReusePort: true })).toEqual([]);
  expect(problems({ enableReusePort: false })).toEqual(["enable_reuse_port"]);
});

test("a connection whose answer had begun before is closed behind it, though its client asks for nothing more", async () => {
  let finish: (() => void) | undefined;
  await using origin = await TestServer.http((_request, response) => {
    response.writeHead(200, { "content-length": 4 }).write("ab");
    finish = () => response.end("cd");
  });
  // No other time that would have anybody look at the connection.
  await using path = await DataPath.start({
    cluster: clusterOf([endpointAt(origin.port)]),
    action: { timeoutMs: 0 },
    http: { streamIdleTimeoutMs: 0 },
  });
  let failed = false;
  const options = { ...path.options(), drainsWithHealth: true };
  const listener = await startListener(options, { runtime: path.runtime, healthFailed: () => failed });
  using client = new RawClient(listener.port);
  await client.send(GET).until((text) => text.endsWith("ab"));
  failed = true;
  listener.healthChanged();
  finish?.();
  await client.until((text) => text.endsWith("abcd"));
  await until(() => client.ended);
  await listener.close();
});
