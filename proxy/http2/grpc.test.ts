/** Real gRPC clients and servers (grpc-js) with the data path between them, and browsers' gRPC-Web. */
import { once } from "node:events";
import http2 from "node:http2";
import type { AddressInfo } from "node:net";

import {
  Client,
  credentials,
  type ClientDuplexStream,
  Metadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { expect, test } from "vitest";

import { clusterOf, DataPath, type DataPathOptions, endpointAt } from "../../test/support/data-path.ts";
import { exchange } from "../../test/support/raw-client.ts";
import { until } from "../../test/support/wait.ts";
import { http2Defaults } from "../cluster/http2-options.ts";
import { grpcWeb } from "../filters/grpc-web.ts";

const text = { serialize: (value: string) => Buffer.from(value), deserialize: (bytes: Buffer) => bytes.toString() };
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream,
  responseStream,
  requestSerialize: text.serialize,
  requestDeserialize: text.deserialize,
  responseSerialize: text.serialize,
  responseDeserialize: text.deserialize,
});
const service = { unary: method("unary", false, false), talk: method("talk", true, true) };

/** Echoes; what it is told to fail at, it fails at. */
async function start(changes: DataPathOptions = {}) {
  let cancelled = 0;
  const server = new Server();
  server.addService(service, {
    unary(
      call: { request: string },
      answer: (error: Partial<ServiceError> | null, value?: string, trailer?: Metadata) => void,
    ) {
      if (call.request === "never") return;
      if (call.request === "fail") return answer({ code: status.NOT_FOUND, details: "no such \u00e9cho" });
      const trailer = new Metadata();
      trailer.set("x-after", "1");
      answer(null, `${call.request}!`, trailer);
    },
    talk(call: ServerDuplexStream<string, string>) {
      call.on("data", (piece: string) => call.write(`${piece}!`));
      call.on("end", () => call.end());
      call.on("cancelled", () => cancelled++);
    },
  });
  const port = await new Promise<number>((resolve, reject) => {
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    );
  });
  const cluster = clusterOf([endpointAt(port)], { protocol: "http2", http2: http2Defaults });
  const path = await DataPath.start({ cluster, ...changes });
  const client = new Client(`127.0.0.1:${path.port}`, credentials.createInsecure());
  return {
    path,
    client,
    cancelled: () => cancelled,
    ask: (request: string, deadlineMs?: number) =>
      new Promise<{ value?: string | undefined; code: number; details: string; after: unknown }>((resolve) => {
        const options = deadlineMs === undefined ? {} : { deadline: Date.now() + deadlineMs };
        let value: string | undefined;
        client
          .makeUnaryRequest(
            service.unary.path,
            text.serialize,
            text.deserialize,
            request,
            new Metadata(),
            options,
            (_, got) => {
              value = got;
            },
          )
          .on("status", ({ code, details, metadata }) => {
            setImmediate(() => resolve({ value, code, details, after: metadata.get("x-after")[0] }));
          });
      }),
    talk: () => client.makeBidiStreamRequest(service.talk.path, text.serialize, text.deserialize),
    async [Symbol.asyncDispose]() {
      client.close();
      server.forceShutdown();
      await path[Symbol.asyncDispose]();
    },
  };
}

test("unary calls get their answers, trailers and errors", async () => {
  await using it = await start();
  expect(await it.ask("hello")).toEqual({ value: "hello!", code: status.OK, details: "OK", after: "1" });
  expect(await it.ask("fail")).toMatchObject({ code: status.NOT_FOUND, details: "no such \u00e9cho" });
  const large = "x".repeat(1_000_000);
  expect((await it.ask(large)).value?.length).toBe(1_000_001);
  await until(() => it.path.records.length === 3);
  expect(it.path.records.map(({ responseTrailers }) => responseTrailers?.get("grpc-status"))).toEqual([
    "0",
    undefined,
    "0",
  ]);
});

test("messages go both ways as they come, and a cancelled call ends at the server", async () => {
  await using it = await start();
  const call: ClientDuplexStream<string, string> = it.talk();
  call.on("error", () => {});
  for (const word of ["a", "b"]) {
    call.write(word);
    expect(await once(call, "data")).toEqual([`${word}!`]);
  }
  call.end();
  await once(call, "end");
  const other = it.talk();
  other.on("error", () => {});
  other.write("c");
  await once(other, "data");
  other.cancel();
  await until(() => it.cancelled() === 1);
});

test("a server that doesn't answer meets the client's deadline", async () => {
  await using it = await start();
  expect((await it.ask("never", 100)).code).toBe(status.DEADLINE_EXCEEDED);
});

test("100 calls at once on one connection keep their answers apart", async () => {
  await using it = await start();
  const answers = await Promise.all(Array.from({ length: 300 }, (_, i) => it.ask(`m${i}`)));
  expect(answers.map(({ value }) => value)).toEqual(Array.from({ length: 300 }, (_, i) => `m${i}!`));
});

const frame = (flags: number, payload: string): Buffer => {
  const head = Buffer.alloc(5);
  head[0] = flags;
  head.writeUInt32BE(payload.length, 1);
  return Buffer.concat([head, Buffer.from(payload)]);
};

const web = (type: string, body: string): string =>
  `POST /test.Echo/unary HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\n\r\n${body}`;

test("a browser calls the same server by gRPC-Web over HTTP/1.1, in binary and in text", async () => {
  await using it = await start({ http: { filters: [grpcWeb] } });
  const binary = await exchange(it.path.port, web("application/grpc-web+proto", frame(0, "hi").toString("latin1")));
  expect(binary).toMatch(/^HTTP\/1.1 200 OK\r\n[^]*content-type: application\/grpc-web\+proto\r\n/);
  expect(binary).toContain(frame(0, "hi!").toString("latin1"));
  expect(binary).toMatch(/\x80\0\0\0.[^]*grpc-status:0\r\n/);

  const body = frame(0, "hi").toString("base64");
  const answer = await exchange(it.path.port, web("application/grpc-web-text", body));
  const pieces = (answer.split("\r\n\r\n")[1] ?? "").split("\r\n").filter((_piece, i) => i % 2 === 1);
  const decoded = Buffer.concat(pieces.map((piece) => Buffer.from(piece, "base64"))).toString("latin1");
  expect(decoded.startsWith(frame(0, "hi!").toString("latin1"))).toBe(true);
  expect(decoded).toContain("grpc-status:0\r\n");
  expect(await exchange(it.path.port, web("application/grpc-web-text", "a*b="))).toMatch(/grpc-status: 13\r\n/);
});

test("a call's status comes behind a message whose length was said", async () => {
  const server = http2.createServer().on("stream", (stream) => {
    stream.respond({ "content-type": "application/grpc", "content-length": "5" }, { waitForTrailers: true });
    stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "5" }));
    stream.end(Buffer.alloc(5));
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const cluster = clusterOf([endpointAt((server.address() as AddressInfo).port)], {
    protocol: "http2",
    http2: http2Defaults,
  });
  await using path = await DataPath.start({ cluster });
  const session = http2.connect(`http://127.0.0.1:${path.port}`);
  const stream = session.request({
    ":method": "POST",
    ":path": "/test.Echo/unary",
    "content-type": "application/grpc",
  });
  const trailers = once(stream, "trailers");
  stream.end(Buffer.alloc(5));
  stream.resume();
  expect((await trailers)[0]).toMatchObject({ "grpc-status": "5" });
  session.destroy();
  server.close();
});
