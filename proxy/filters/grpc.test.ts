/** What gRPC clients get from the gateway itself, and how their deadlines hold. */
import { create } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { RouteActionSchema } from "#envoy/config/route/v3/route_components_pb.ts";

import { clusterOf, DataPath, endpointAt, forwardAction, TestServer } from "../../test/support/data-path.ts";
import { exchange } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import { Http2Client } from "../../test/support/http2-client.ts";
import { Place } from "../compile.ts";
import { Headers } from "../headers.ts";
import { compileStreamDuration } from "../route/stream-duration.ts";
import { isGrpc } from "../grpc-status.ts";
import { grpcTimeoutMs, toGrpcTimeout, toTrailersOnly } from "./grpc.ts";

const CALL = { ":method": "POST", ":path": "/pkg.Service/Method", "content-type": "application/grpc", te: "trailers" };

test("a local reply to gRPC is trailers-only, whatever the protocol", async () => {
  await using path = await DataPath.start({ cluster: clusterOf([]) });
  await using client = new Http2Client(path.port);
  expect(await client.ask(CALL, "")).toMatchObject({
    status: 200,
    headers: { "content-type": "application/grpc", "grpc-status": "14", "grpc-message": "no healthy upstream" },
    body: "",
    trailers: undefined,
  });
  const head =
    "POST /a HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: application/grpc+json\r\nContent-Length: 0\r\n\r\n";
  expect(await exchange(path.port, head)).toMatch(
    /^HTTP\/1.1 200 OK\r\n[^]*grpc-status: 14\r\n[^]*content-length: 0\r\n/,
  );
  // Not gRPC, though it looks a little like it.
  expect((await client.ask({ ...CALL, "content-type": "application/grpc-web" }, "")).status).toBe(503);
  await until(() => path.records.length === 3);
  expect(path.records[0]).toMatchObject({ status: 200, details: "no_healthy_upstream", flags: ["UH"] });
});

test("a deadline that passes is DEADLINE_EXCEEDED; for others it is 504", async () => {
  await using origin = await TestServer.http((request, response) => {
    if (request.url === "/told") response.end(request.headers["grpc-timeout"]);
  });
  const streamDuration = compileStreamDuration(
    create(RouteActionSchema, {
      maxStreamDuration: {
        maxStreamDuration: { nanos: 4e7 },
        grpcTimeoutHeaderMax: { seconds: 3_600n },
        grpcTimeoutHeaderOffset: { nanos: 1e7 },
      },
    }),
    Place.root(),
  );
  await using path = await DataPath.start({
    cluster: clusterOf([endpointAt(origin.port)]),
    route: { kind: "forward", forward: forwardAction({ streamDuration }) },
  });
  await using client = new Http2Client(path.port);
  const late = await client.ask({ ...CALL, "grpc-timeout": "50m" }, "");
  expect(late.headers).toMatchObject({ "grpc-status": "4", "grpc-message": "downstream duration timeout" });
  // One that gets there whatever the machine does meanwhile.
  expect((await client.ask({ ...CALL, ":path": "/told", "grpc-timeout": "60000m" }, "")).body).toBe("59990m");
  expect((await client.ask({})).status).toBe(504);
  await until(() => path.records.length === 3);
  expect(path.records[0]).toMatchObject({ flags: [], details: "max_duration_timeout" });
  expect(path.stats.get("downstream_rq_max_duration_reached")).toBe(2);
});

test("the time of a stream is what the route, the header and the listener make of it", () => {
  const timeout = (value: string) => {
    const headers = new Headers();
    headers.add("grpc-timeout", value);
    return headers;
  };
  expect(grpcTimeoutMs(timeout("1H"))).toBe(3_600_000);
  expect(grpcTimeoutMs(timeout("1500u"))).toBe(2);
  expect(grpcTimeoutMs(timeout("123456789m"))).toBeUndefined();
  expect(grpcTimeoutMs(timeout("-1m"))).toBeUndefined();
  expect(toGrpcTimeout(123_456_789)).toBe("123456S");
  const compiled = (seconds: bigint) =>
    compileStreamDuration(
      create(RouteActionSchema, { maxStreamDuration: { grpcTimeoutHeaderMax: { seconds } } }),
      Place.root(),
    );
  const head = (value: string) =>
    ({ headers: timeout(value) }) as Parameters<NonNullable<ReturnType<typeof compiled>>>[0];
  expect(compiled(1n)?.(head("5S"))).toBe(1_000);
  // 0 is no bound to what the client asks for.
  expect(compiled(0n)?.(head("5S"))).toBe(5_000);
  expect(compiled(0n)?.(head("nonsense"))).toBeUndefined();
  const limited = compileStreamDuration(
    create(RouteActionSchema, { maxStreamDuration: { maxStreamDuration: { seconds: 2n } } }),
    Place.root(),
  );
  const told = (type: string) => {
    const headers = new Headers();
    headers.add("content-type", type);
    expect(limited?.({ headers } as Parameters<typeof limited>[0])).toBe(2_000);
    return headers.get("grpc-timeout");
  };
  expect([told("application/grpc"), told("text/plain")]).toEqual(["2000m", undefined]);
});

test("grpc-message is percent-encoded, and statuses map as in Envoy", () => {
  const reply = (status: number, text: string) => {
    const headers = new Headers();
    toTrailersOnly(headers, status, text, undefined);
    return [headers.get("grpc-status"), headers.get("grpc-message")];
  };
  expect(reply(403, "50% \u00e9\n")).toEqual(["7", "50%25 %C3%A9%0A"]);
  expect(reply(418, "")).toEqual(["2", undefined]);
  expect([400, 401, 404, 429, 500, 503].map((status) => reply(status, "")[0])).toEqual([
    "13",
    "16",
    "12",
    "14",
    "2",
    "14",
  ]);
  const typed = (type: string) => {
    const headers = new Headers();
    headers.add("content-type", type);
    return isGrpc(headers);
  };
  expect(
    ["application/grpc", "application/grpc+proto", "application/grpcx", "application/grpc;a=b"].map(typed),
  ).toEqual([true, true, false, false]);
});
