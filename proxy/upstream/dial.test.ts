/** Connecting to endpoints of several addresses: attempts are raced, which addresses.test.ts can't tell from one after the other. */
import { once } from "node:events";
import { readFileSync } from "node:fs";
import { type AddressInfo, createServer, type Server, type Socket } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer } from "node:tls";

import { create } from "@bufbuild/protobuf";
import { anyPack } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { UpstreamTlsContextSchema } from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";

import { endpointAt, TestServer } from "../../test/support/data-path.ts";
import { pause, until } from "../../test/support/wait.ts";
import { compileCluster } from "../cluster/compile.ts";
import { Dial, type Dialler } from "./dial.ts";
import { ClientTls } from "./tls.ts";

const FIRST = "127.0.0.2";
const SECOND = "127.0.0.3";
const read = (name: string) => readFileSync(join(import.meta.dirname, "testdata", name), "utf8");
const certificate = { key: read("origin.key.pem"), cert: read("origin.cert.pem") };

/** TLS, since its handshake is what a test can hold up. Nothing of the certificate is verified. */
function clientTls(): ClientTls {
  const typedConfig = anyPack(UpstreamTlsContextSchema, create(UpstreamTlsContextSchema));
  const compiled = compileCluster(
    create(ClusterSchema, {
      name: "c",
      loadAssignment: { clusterName: "c" },
      transportSocket: { name: "tls", configType: { case: "typedConfig", value: typedConfig } },
    }),
  );
  const settings = compiled.ok ? compiled.value.settings.tls : undefined;
  if (settings === undefined) throw new Error("no TLS");
  return new ClientTls(settings, { secret: () => undefined });
}

/** An address whose connections wait until `secure` shakes hands on the first one. */
class HeldAddress {
  readonly server: Server;
  readonly sockets: Socket[] = [];
  closed = 0;
  #said: Buffer[] = [];

  constructor() {
    this.server = createServer((socket) => {
      this.sockets.push(socket);
      socket.on("data", (bytes) => this.#said.push(bytes));
      socket.on("error", () => {}).on("close", () => this.closed++);
    });
  }

  secure(tls: TestServer): void {
    const [socket] = this.sockets;
    socket?.removeAllListeners("data").pause().unshift(Buffer.concat(this.#said));
    tls.server.emit("connection", socket);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const socket of this.sockets) socket.destroy();
    await new Promise((resolve) => this.server.close(resolve));
  }
}

/** Two addresses of one port. */
async function startAddresses() {
  const cleanup = new AsyncDisposableStack();
  const tls = cleanup.use(await TestServer.listen(createTlsServer(certificate)));
  const [first, second] = [cleanup.use(new HeldAddress()), cleanup.use(new HeldAddress())];
  let port = 0;
  for (const [held, address] of [[first, FIRST] as const, [second, SECOND] as const]) {
    held.server.listen(port, address);
    await once(held.server, "listening");
    port = (held.server.address() as AddressInfo).port;
  }
  return { port, tls, first, second, [Symbol.asyncDispose]: () => cleanup.disposeAsync() };
}

function dial(port: number, connectTimeoutMs = 60_000) {
  const outcome: { socket?: Socket; failure?: string } = {};
  const dialler: Dialler = {
    onDialled: (socket) => (outcome.socket = socket.on("error", () => {})),
    onDialFailed: (reason, failure) => (outcome.failure = `${reason} ${failure}`),
  };
  const endpoint = { ...endpointAt(port), address: FIRST, additionalAddresses: [SECOND] };
  const options = { endpoint, tls: clientTls(), serverName: "", alpn: [], keepaliveMs: undefined, connectTimeoutMs };
  return { outcome, dial: new Dial(options, dialler) };
}

test("an address that is slow wins nevertheless when the one after it is slower", async () => {
  await using at = await startAddresses();
  const { outcome } = dial(at.port);
  await until(() => at.first.sockets.length === 1 && at.second.sockets.length === 1);
  expect([at.first.closed, at.second.closed]).toEqual([0, 0]);
  at.first.secure(at.tls);
  await until(() => outcome.socket !== undefined);
  expect(outcome.socket?.remoteAddress).toBe(FIRST);
  // The other one is of no more use.
  await until(() => at.second.closed === 1);
  outcome.socket?.destroy();
});

test("the first address is given up when the second is ready before it", async () => {
  await using at = await startAddresses();
  const { outcome } = dial(at.port);
  await until(() => at.second.sockets.length === 1);
  at.second.secure(at.tls);
  await until(() => outcome.socket !== undefined);
  expect(outcome.socket?.remoteAddress).toBe(SECOND);
  await until(() => at.first.closed === 1);
  outcome.socket?.destroy();
});

test("all attempts together have the connect timeout", async () => {
  await using at = await startAddresses();
  const { outcome } = dial(at.port, 1_000);
  await until(() => outcome.failure !== undefined);
  expect(outcome.failure).toBe("connection timeout ");
  await until(() => at.first.closed === at.first.sockets.length && at.second.closed === at.second.sockets.length);
});

test("a dial that is given up closes all of its attempts and tells nobody", async () => {
  await using at = await startAddresses();
  const { outcome, dial: dialling } = dial(at.port);
  await until(() => at.first.sockets.length === 1 && at.second.sockets.length === 1);
  dialling.cancel();
  await until(() => at.first.closed === 1 && at.second.closed === 1);
  expect(outcome).toEqual({});
});

test("where the first address fails at once and the last one is slow, nobody else is connected to", async () => {
  await using tls = await TestServer.listen(createTlsServer(certificate));
  // Whoever happens to serve the same port of this machine.
  await using stranger = await TestServer.raw(() => {});
  await using second = new HeldAddress();
  second.server.listen(stranger.port, SECOND);
  await once(second.server, "listening");
  const { outcome } = dial(stranger.port);
  await until(() => second.sockets.length === 1);
  // Longer than an address has to itself.
  await pause(1_000);
  expect(stranger.accepted).toBe(0);
  second.secure(tls);
  await until(() => outcome.socket !== undefined);
  expect(outcome.socket?.remoteAddress).toBe(SECOND);
  outcome.socket?.destroy();
});
