/** The further examples of deploy/examples do what they say. */
import { readFile, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";

import { Client, credentials, status } from "@grpc/grpc-js";
import { afterAll, beforeAll, expect, test } from "vitest";

import { TestAuthority } from "../support/certificates.ts";
import { ControlPlane, startProxy, temporaryDir } from "../support/gateway.ts";
import { callEcho, startGrpcEcho } from "../support/grpc-echo.ts";
import { ask } from "../support/http.ts";
import { Http2Client } from "../support/http2-client.ts";
import { freePort } from "../support/ports.ts";
import { startSecureOrigin } from "../support/secure-origin.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const cleanup = new AsyncDisposableStack();
let dir: string;
let control: ControlPlane;

beforeAll(async () => {
  const temporary = await temporaryDir();
  dir = temporary.path;
  cleanup.defer(() => temporary.remove());
  control = await ControlPlane.start(join(dir, "data"));
  cleanup.defer(() => control.program.stop());
  const { program } = await startProxy(control.xdsPort);
  cleanup.defer(() => program.stop());
});

afterAll(() => cleanup.disposeAsync());

const takesConnections = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
    socket.once("connect", () => socket.destroy());
  });

/** Applies an example with other texts in places of some of its own. */
async function apply(name: string, replace: Readonly<Record<string, string | number>>): Promise<void> {
  let text = await readFile(join(import.meta.dirname, "../../deploy/examples", name), "utf8");
  // All at once: a port that was put in may look like one that is to be replaced.
  text = text.replaceAll(new RegExp(Object.keys(replace).join("|"), "g"), (from) => String(replace[from]));
  await writeFile(join(dir, name), text);
  expect((await control.sluice("apply", "--prune", "-f", join(dir, name))).stderr).toBe("");
}

test("tls-grpc.yaml: TLS both ways, gRPC, and a redirect", async () => {
  using authority = new TestAuthority();
  const altNames = ["DNS:shop.example.com", "DNS:grpc.example.com"];
  const shop = authority.issue({ name: "shop.example.com", altNames });
  await writeFile(join(dir, "shop.pem"), shop.cert);
  await writeFile(join(dir, "shop.key"), shop.key);
  await writeFile(join(dir, "company.pem"), authority.cert);
  const grpc = await startGrpcEcho();
  cleanup.defer(() => grpc.close());
  const origin = await startSecureOrigin(shop, authority.cert);
  cleanup.defer(() => origin.close());
  const [http, https, partners] = [await freePort(), await freePort(), await freePort()];
  await apply("tls-grpc.yaml", { 9080: http, 9443: https, 9444: partners, 9201: grpc.port, 9202: origin.port });

  const client = new Client(`127.0.0.1:${https}`, credentials.createSsl(Buffer.from(authority.cert)), {
    "grpc.ssl_target_name_override": "grpc.example.com",
    "grpc.default_authority": "grpc.example.com",
  });
  cleanup.defer(() => client.close());
  await waitFor("gRPC", async () => (await callEcho(client, "hi", 10_000)).code === status.OK);
  // Listeners open one after the other.
  for (const port of [partners, http]) await waitFor("a listener", () => takesConnections(port));
  const settings = { ca: authority.cert, servername: "shop.example.com", ...shop };
  await using partner = new Http2Client(partners, settings, "https");
  const answer = await partner.ask({ ":path": "/", ":authority": "shop.example.com" });
  expect(JSON.parse(answer.body)).toMatchObject({ httpVersion: "2.0", client: "shop.example.com" });
  const moved = await ask(http, { path: "/old/a?b=1", headers: { host: "shop.example.com" } });
  expect(moved.headers.location).toBe("http://shop.example.com/new/a?b=1");
});

test("discovery.yaml: what answers serves, and what doesn't is told", async () => {
  const instance = await startUpstream("instance");
  cleanup.defer(() => instance.close());
  const file = join(dir, "services.yaml");
  await writeFile(file, `services: { stock: [{ address: 127.0.0.1, port: ${instance.port} }] }\n`);
  const [http, closed] = [await freePort(), await freePort()];
  const ports = { 9080: http, 9101: instance.port, 8500: closed, 8848: closed, 8600: closed };
  await apply("discovery.yaml", { ...ports, "/etc/sluice/services.yaml": file });
  const from = async (host: string) => (await ask(http, { headers: { host } })).status;
  await waitFor("the instance of the file", async () => (await from("stock.example.com")) === 200);
  await waitFor(
    "the node beside a registry that doesn't answer",
    async () => (await from("orders.example.com")) === 200,
  );
  expect(await from("carts.example.com")).toBe(503);
  const { stdout } = await control.sluice("discovery", "registries");
  expect(stdout).toMatch(/^default +file .* ANSWERS /m);
  expect((await control.sluice("discovery", "problems")).code).toBe(2);
});
