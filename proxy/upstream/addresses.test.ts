/** Endpoints with several addresses: what happy eyeballs are for. */
import { expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt, TestServer } from "../../test/support/data-path.ts";
import { exchange } from "../../test/support/raw-client.ts";
import type { ClusterSettings } from "../cluster/cluster.ts";

const GET = "GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n";

async function ask(first: string, additionalAddresses: string[], settings: Partial<ClusterSettings> = {}) {
  await using origin = await TestServer.http((_, response) => response.end("here"));
  // The origin listens on 127.0.0.1 only.
  const endpoint = { ...endpointAt(origin.port), address: first, additionalAddresses };
  await using path = await DataPath.start({ cluster: clusterOf([endpoint], settings) });
  return { text: await exchange(path.port, GET), record: path.records[0] };
}

test.each<[string, string, string[]]>([
  ["an address that refuses", "127.0.0.2", ["127.0.0.1"]],
  ["one of another family", "::1", ["127.0.0.1"]],
  ["several", "127.0.0.2", ["::1", "127.0.0.3", "127.0.0.1"]],
])("after %s the next one is tried", async (_title, first, more) => {
  const { text, record } = await ask(first, more);
  expect(text).toMatch(/^HTTP\/1.1 200 OK[^]*here/);
  expect(record).toMatchObject({ flags: [], attempts: 1 });
});

test("an address that doesn't answer holds nothing up for long", async () => {
  // TEST-NET-1: nobody is there (RFC 5737). The connect timeout is far beyond the test's patience.
  const { text } = await ask("192.0.2.1", ["127.0.0.1"], { connectTimeoutMs: 60_000 });
  expect(text).toMatch(/^HTTP\/1.1 200 OK/);
});

test("when all refuse, the attempt fails as with one", async () => {
  const { text, record } = await ask("127.0.0.2", ["127.0.0.3"]);
  expect(text).toMatch(/^HTTP\/1.1 503 /);
  expect(record).toMatchObject({
    flags: ["UF"],
    upstreamTransportFailure: "delayed_connect_error:_Connection_refused",
  });
});
