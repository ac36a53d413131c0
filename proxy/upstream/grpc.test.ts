/** gRPC from a real client through the data path to a real server: HTTP/2 on both sides. */
import {
  Client,
  credentials,
  type Metadata,
  Metadata as GrpcMetadata,
  Server,
  ServerCredentials,
  type ServerDuplexStream,
  type ServerUnaryCall,
  type sendUnaryData,
  type ServiceError,
  status,
} from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";

import { clusterOf, DataPath, endpointAt } from "../../test/support/data-path.ts";
import { until } from "../../test/support/wait.ts";

const bytes = (value: Buffer) => value;
const method = (name: string, streams: boolean) => ({
  path: `/test.Echo/${name}`,
  requestStream: streams,
  responseStream: streams,
  requestSerialize: bytes,
  requestDeserialize: bytes,
  responseSerialize: bytes,
  responseDeserialize: bytes,
});

const server = new Server();
let path: DataPath;
let client: Client;
let cancelled = 0;

beforeAll(async () => {
  server.addService(
    { Unary: method("Unary", false), Fail: method("Fail", false), Both: method("Both", true) },
    {
      Unary(call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) {
        const trailers = new GrpcMetadata();
        trailers.set("x-trailer", String(call.metadata.get("x-asked")[0]));
        callback(null, call.request, trailers);
      },
      Fail(_call: ServerUnaryCall<Buffer, Buffer>, callback: sendUnaryData<Buffer>) {
        callback({ code: status.NOT_FOUND, details: "nobody" });
      },
      Both(call: ServerDuplexStream<Buffer, Buffer>) {
        call.on("data", (message: Buffer) => call.write(message));
        call.on("end", () => call.end());
        call.on("cancelled", () => cancelled++);
      },
    },
  );
  const port = await new Promise<number>((resolve, reject) =>
    server.bindAsync("127.0.0.1:0", ServerCredentials.createInsecure(), (error, bound) =>
      error === null ? resolve(bound) : reject(error),
    ),
  );
  path = await DataPath.start({ cluster: clusterOf([endpointAt(port)], { protocol: "http2" }) });
  client = new Client(`127.0.0.1:${path.port}`, credentials.createInsecure());
});

afterAll(async () => {
  client.close();
  await path[Symbol.asyncDispose]();
  server.forceShutdown();
});

interface Answered {
  readonly error: ServiceError | null;
  readonly value: Buffer | undefined;
  readonly trailers: Metadata;
}

function unary(name: string, message: Buffer): Promise<Answered> {
  const metadata = new GrpcMetadata();
  metadata.set("x-asked", "yes");
  const answer = Promise.withResolvers<Pick<Answered, "error" | "value">>();
  const end = Promise.withResolvers<Metadata>();
  client
    .makeUnaryRequest(`/test.Echo/${name}`, bytes, bytes, message, metadata, (error, value) =>
      answer.resolve({ error, value }),
    )
    .on("status", ({ metadata: trailers }) => end.resolve(trailers));
  return Promise.all([answer.promise, end.promise]).then(([answered, trailers]) => ({ ...answered, trailers }));
}

test("a unary call, its message and its trailers", async () => {
  const large = Buffer.alloc(1_000_000, "m");
  for (const message of [Buffer.from("hi"), large]) {
    const { error, value, trailers } = await unary("Unary", message);
    expect(error).toBeNull();
    expect(value?.equals(message)).toBe(true);
    expect(trailers.get("x-trailer")).toEqual(["yes"]);
  }
});

test("an error is its status and its text", async () => {
  expect((await unary("Fail", Buffer.from("hi"))).error).toMatchObject({ code: status.NOT_FOUND, details: "nobody" });
});

test("messages go both ways while the call is open", async () => {
  const call = client.makeBidiStreamRequest("/test.Echo/Both", bytes, bytes);
  const answers: string[] = [];
  const ended = new Promise<number>((resolve) => call.on("status", ({ code }) => resolve(code)));
  call.on("data", (message: Buffer) => answers.push(message.toString()));
  for (const message of ["one", "two", "three"]) {
    call.write(Buffer.from(message));
    await until(() => answers.at(-1) === message);
  }
  call.end();
  expect(await ended).toBe(status.OK);
  expect(answers).toEqual(["one", "two", "three"]);
});

test("a call that the client cancels is cancelled at the server", async () => {
  const call = client.makeBidiStreamRequest("/test.Echo/Both", bytes, bytes);
  call.on("error", () => {});
  const answered = new Promise((resolve) => call.once("data", resolve));
  call.write(Buffer.from("hi"));
  await answered;
  call.cancel();
  await until(() => cancelled === 1);
});

test("many calls at once share a connection", async () => {
  const before = path.stats.get("upstream_cx_total");
  const answers = await Promise.all(
    Array.from({ length: 80 }, async (_, n) => {
      const { error, value } = await unary("Unary", Buffer.from(`${n}`));
      return error === null ? value?.toString() : error.message;
    }),
  );
  expect(answers).toEqual(Array.from({ length: 80 }, (_, n) => `${n}`));
  expect(path.stats.get("upstream_cx_total") - before).toBeLessThanOrEqual(1);
});
