/** Listeners as such; what their connections do is tested in http1/. */
import { once } from "node:events";
import { connect } from "node:net";

import fc from "fast-check";
import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { exchange, RawClient } from "../../test/support/raw-client.ts";
import { TestStats } from "../../test/support/test-stats.ts";
import { until, waitFor } from "../../test/support/wait.ts";
import { InheritedSockets } from "./inherited.ts";
import { ListenError, startListener } from "./listener.ts";
import { SOCKETS_PER_ADDRESS } from "./listening-sockets.ts";
import type { BindAddress } from "./options.ts";

test("a port that is taken is a clear error", async () => {
  await using path = await DataPath.start({});
  const runtime = {
    stats: new TestStats(),
    cluster: () => undefined,
    secret: () => undefined,
    routeTable: () => undefined,
  };
  const second = startListener({ ...path.options(), port: path.port }, { runtime });
  await expect(second).rejects.toThrow(ListenError);
  await expect(second).rejects.toThrow(`listener test: cannot listen on 127.0.0.1:${path.port}: the port is taken`);
});

test("a worker accepts on several sockets of one address, on any of which clients are answered", async () => {
  await using path = await DataPath.start({ route: { kind: "direct", status: 200, body: Buffer.from("ok") } });
  const listener = await startListener(path.options(), { runtime: path.runtime, reusePort: true });
  try {
    const sockets = listener.sockets();
    expect(new Set(sockets.map(({ fd }) => fd)).size).toBe(SOCKETS_PER_ADDRESS);
    expect(new Set(sockets.map(({ port }) => port))).toEqual(new Set([listener.port]));
    const request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    const answers = await Promise.all(Array.from({ length: 100 }, () => exchange(listener.port, request)));
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 200 OK/);
  } finally {
    await listener.close();
  }
});

test("a connection that came just before its listener ended, and had said nothing yet, is served", async () => {
  await using path = await DataPath.start({ route: { kind: "direct", status: 200, body: Buffer.from("ok") } });
  const inspection = { proxyProtocol: undefined, tls: true, http: true, timeoutMs: 15_000, continueOnTimeout: false };
  const listener = await startListener({ ...path.options(), inspection }, { runtime: path.runtime });
  using client = new RawClient(listener.port);
  await once(client.socket, "connect");
  const drained = listener.drain(60_000);
  await waitFor("nobody to listen any more", async () => {
    const socket = connect(listener.port, "127.0.0.1");
    const isRefused = await once(socket, "connect").then(
      () => false,
      () => true,
    );
    socket.destroy();
    return isRefused;
  });
  expect(await client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").end()).toMatch(
    /^HTTP\/1.1 200 OK[^]*connection: close/,
  );
  await drained;
});

test("one that says nothing at all is closed, and holds nothing up for long", async () => {
  await using path = await DataPath.start({ route: { kind: "direct", status: 200, body: Buffer.from("ok") } });
  const inspection = { proxyProtocol: undefined, tls: true, http: true, timeoutMs: 0, continueOnTimeout: false };
  const listener = await startListener({ ...path.options(), inspection }, { runtime: path.runtime });
  using client = new RawClient(listener.port);
  await once(client.socket, "connect");
  await listener.drain(100);
  expect(await client.end()).toBe("");
});

test("what waits in the queue of a listener that closes is answered by one that took over its sockets", async () => {
  await using path = await DataPath.start({ route: { kind: "direct", status: 200, body: Buffer.from("ok") } });
  const first = await startListener(path.options(), { runtime: path.runtime, reusePort: true });
  const { port } = first;
  const sockets = new InheritedSockets([]);
  await sockets.adopt(first.sockets());
  await first.close();
  // Nobody accepts now, and nobody refuses.
  const answers = Promise.all(
    Array.from({ length: 100 }, () => exchange(port, "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")),
  );
  const inherited = (at: BindAddress) => sockets.take(at);
  const second = await startListener(
    { ...path.options(), port },
    { runtime: path.runtime, reusePort: true, inherited },
  );
  try {
    for (const answer of await answers) expect(answer).toMatch(/^HTTP\/1.1 200 OK/);
    expect(second.sockets().length).toBe(SOCKETS_PER_ADDRESS);
    expect(sockets.sockets()).toEqual([]);
  } finally {
    await second.close();
  }
});

test("a listener that is open accepts as well on sockets that come later", async () => {
  await using path = await DataPath.start({ route: { kind: "direct", status: 200, body: Buffer.from("ok") } });
  const sockets = new InheritedSockets([]);
  const context = { runtime: path.runtime, reusePort: true, inherited: (at: BindAddress) => sockets.take(at) };
  const leaving = await startListener(path.options(), { runtime: path.runtime, reusePort: true });
  const staying = await startListener({ ...path.options(), port: leaving.port }, context);
  try {
    await sockets.adopt(leaving.sockets());
    await staying.adopt();
    await leaving.close();
    expect(staying.sockets().length).toBe(2 * SOCKETS_PER_ADDRESS);
    const request = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";
    const answers = await Promise.all(Array.from({ length: 100 }, () => exchange(staying.port, request)));
    for (const answer of answers) expect(answer).toMatch(/^HTTP\/1.1 200 OK/);
  } finally {
    await staying.close();
  }
});

test("whatever clients send and origins answer, the data path goes on and keeps nothing", async () => {
  let answer = "";
  await using origin = await TestServer.raw((socket) => {
    socket.on("data", () => (answer.startsWith("!") ? socket.resetAndDestroy() : socket.write(answer, "latin1")));
  });
  const cluster = clusterOf([endpointAt(origin.port)]);
  await using path = await DataPath.start({
    cluster,
    action: { timeoutMs: 50 },
    http: { requestHeadersTimeoutMs: 50, requestTimeoutMs: 50, streamIdleTimeoutMs: 50, delayedCloseTimeoutMs: 20 },
  });
  const request = fc.constantFrom(
    "GET / HTTP/1.1\r\nHost: h\r\n\r\n",
    "HEAD / HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 9\r\n\r\nabc",
    "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    "0\r\n\r\n",
    "\r\n",
    "GET",
    "\0",
  );
  const response = fc.constantFrom(
    "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\nmore",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 200 OK\r\n\r\nok",
    "HTTP/1.1 100 Continue\r\n\r\n",
    "HTTP/1.1 101 Switching Protocols\r\n\r\n",
    "!",
    "\0",
  );
  const ending = fc.constantFrom("end" as const, "destroy" as const, "reset" as const);
  await fc.assert(
    fc.asyncProperty(
      fc.array(request, { minLength: 1, maxLength: 4 }),
      response,
      ending,
      async (parts, chosen, how) => {
        answer = chosen;
        using client = new RawClient(path.port);
        for (const part of parts) client.send(part);
        if (how === "end") {
          client.socket.end();
          await client.end();
        } else {
          await until(() => client.received !== "" || client.closed || path.stats.get("downstream_cx_active") > 0);
          if (how === "reset") client.socket.resetAndDestroy();
          else client.socket.destroy();
        }
        await until(() => path.stats.get("downstream_cx_active") === 0);
        expect(cluster.load).toMatchObject({ pending: 0, requests: 0, retries: 0 });
        expect(path.stats.get("downstream_rq_active")).toBe(0);
      },
    ),
    { numRuns: 60 },
  );
  expect(path.stats.get("downstream_rq_total")).toBe(path.records.length);
});

test("a finished request is not held on to", async () => {
  await using origin = await TestServer.http((_, response) => response.end("ok"));
  await using path = await DataPath.start({ cluster: clusterOf([endpointAt(origin.port)]) });
  using client = new RawClient(path.port);
  const registry = new Set<string>();
  const finalization = new FinalizationRegistry<string>((name) => registry.add(name));
  await client.send("GET / HTTP/1.1\r\nHost: h\r\n\r\n").until((text) => text.endsWith("ok"));
  finalization.register(path.records[0] as object, "record");
  path.records.length = 0;
  const { setFlagsFromString } = await import("node:v8");
  const { runInNewContext } = await import("node:vm");
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  await until(() => {
    collect();
    return registry.has("record");
  });
});
