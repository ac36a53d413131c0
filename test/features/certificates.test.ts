/** Certificates from a gateway file to a TLS handshake: the native proxy and Envoy show what `sluice apply` brought, and take a renewal. */
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { connect } from "node:tls";

import { afterAll, beforeAll, expect, test } from "vitest";

import { TestAuthority } from "../support/certificates.ts";
import { ControlPlane, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

const authority = new TestAuthority();
const cleanup = new AsyncDisposableStack();
let plane: ControlPlane;
let folder: string;
let file: string;
let port: number;

beforeAll(async () => {
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  folder = dir.path;
  file = join(folder, "gateway.yaml");
  port = await freePort();
  const upstream = await startUpstream("only");
  cleanup.defer(() => upstream.close());
  plane = await ControlPlane.start(join(folder, "data"));
  cleanup.defer(() => plane.program.stop());
  await issue("shop", ["DNS:shop.test", "DNS:*.shop.test"]);
  await writeFile(join(folder, "clients.pem"), authority.cert);
  await writeFile(
    file,
    `gatewayGroups:
  - name: default
    listeners: [{ name: https, protocol: https, address: 127.0.0.1, port: ${port} }]
certificates:
  - { name: shop, certificateFile: shop.pem, keyFile: shop.key }
caCertificates:
  - { name: clients, certificatesFile: clients.pem }
services:
  - name: only
    upstreams: [{ name: default, nodes: [{ host: 127.0.0.1, port: ${upstream.port} }] }]
    routes: [{ name: all, paths: [/*] }]
`,
  );
  expect((await plane.sluice("apply", "-f", file)).stderr).toBe("");
  const proxy = await startProxy(plane.xdsPort);
  cleanup.defer(() => proxy.program.stop());
});

afterAll(() => cleanup.disposeAsync());

async function issue(name: string, altNames: readonly string[]): Promise<void> {
  const { cert, key } = authority.issue({ name, altNames, type: "ec" });
  await writeFile(join(folder, `${name}.pem`), cert);
  await writeFile(join(folder, `${name}.key`), key);
}

/** The serial number of the certificate that a client of this server name is shown; undefined if it is shown none. */
async function serialShown(servername: string): Promise<string | undefined> {
  const { promise, resolve } = Promise.withResolvers<string | undefined>();
  const socket = connect({
    host: "127.0.0.1",
    port,
    servername,
    ca: authority.cert,
    checkServerIdentity: () => undefined,
  });
  socket.on("secureConnect", () => resolve(socket.getPeerCertificate().serialNumber));
  socket.on("error", () => resolve(undefined));
  socket.on("close", () => resolve(undefined));
  const serial = await promise;
  socket.destroy();
  return serial;
}

test("a listener shows the certificate of the server name that is asked for", async () => {
  const serial = await waitFor("a handshake", () => serialShown("shop.test"));
  expect(await serialShown("www.shop.test")).toBe(serial);
  expect(await serialShown("other.test")).toBeUndefined();
});

test("a renewed certificate is shown without another change", async () => {
  const before = await waitFor("a handshake", () => serialShown("shop.test"));
  await issue("shop", ["DNS:shop.test", "DNS:*.shop.test"]);
  const applied = await plane.sluice("apply", "-f", file);
  expect(applied.stdout).toContain("1 changed");
  expect(applied.stdout).toContain("(changed)");
  await waitFor("the new one", async () => ![before, undefined].includes(await serialShown("shop.test")));
});

test("no answer holds a key, and an export is applied without a change", async () => {
  const { stdout } = await plane.sluice("get", "all", "-o", "yaml");
  expect(stdout).not.toContain("PRIVATE KEY");
  expect(stdout).toContain("********");
  const exported = join(folder, "exported.yaml");
  await writeFile(exported, stdout);
  expect((await plane.sluice("apply", "-f", exported)).stdout).toContain("No changes.");
  expect(await waitFor("a handshake", () => serialShown("shop.test"))).toBeTruthy();
});

test("what is wrong with a certificate is told at its place in the file", async () => {
  await issue("other", ["DNS:other.test"]);
  const text = await readFile(file, "utf8");
  const wrong = join(folder, "wrong.yaml");
  await writeFile(wrong, text.replace("keyFile: shop.key", "keyFile: other.key"));
  const { stderr, code } = await plane.sluice("apply", "-f", wrong);
  expect(code).not.toBe(0);
  expect(stderr).toContain("wrong.yaml:5:");
  expect(stderr).toContain("is not the key of this certificate");
});

test("metrics tell when a certificate expires", async () => {
  const { body } = await ask(plane.adminPort, { path: "/metrics" });
  expect(body).toMatch(
    /^sluice_certificate_expiry_timestamp_seconds\{gateway_group="default",certificate="shop"\} \d{10}$/m,
  );
});

test("certificates are listed with names and expiry, and one in use can't be deleted", async () => {
  const { stdout } = await plane.sluice("get", "certificates");
  expect(stdout).toMatch(/shop +default +shop\.test, \*\.shop\.test +ec +\d{4}-\d\d-\d\d, \d+ days/);
  const text = await readFile(file, "utf8");
  await writeFile(file, text.replace("port: " + String(port), `port: ${port}, tls: { certificates: [shop] }`));
  expect((await plane.sluice("apply", "-f", file)).stderr).toBe("");
  const { stderr, code } = await plane.sluice("delete", "certificate", "shop");
  expect(code).not.toBe(0);
  expect(stderr).toContain("is used by listener https");
  // The first one that a listener names is for everybody.
  await waitFor("the fallback", () => serialShown("other.test"));
});
