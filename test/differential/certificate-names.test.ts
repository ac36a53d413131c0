/** Names that certificates must carry, as operators write them: both data planes find addresses, URIs and DNS names in certificates alike. */
import { createServer } from "node:https";
import { request } from "node:https";
import type { AddressInfo } from "node:net";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";

import { TestAuthority, type TestCertificate } from "../support/certificates.ts";
import { type DataPlanes, startDataPlanes } from "../support/data-planes.ts";
import { temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { waitFor } from "../support/wait.ts";

const cleanup = new AsyncDisposableStack();
const authority = new TestAuthority();
cleanup.defer(() => authority[Symbol.dispose]());
const shop = authority.issue({ name: "shop", altNames: ["DNS:shop.test"] });
const origins = {
  v6: authority.issue({ name: "v6", altNames: ["IP:::1"] }),
  other: authority.issue({ name: "other", altNames: ["IP:::2", "DNS:localhost"] }),
};
const clients = {
  urn: authority.issue({ name: "urn", altNames: ["URI:urn:example:client"] }),
  address: authority.issue({ name: "address", altNames: ["IP:2001:db8::a"] }),
  dns: authority.issue({ name: "dns", altNames: ["DNS:urn.example", "DNS:2001.db8"] }),
};

let planes: DataPlanes;
const securePorts = { default: 0, envoy: 0 };

/** Answers over TLS on ::1; gives its port. */
async function startOrigin(certificate: TestCertificate): Promise<number> {
  const server = createServer(certificate, (_, response) => response.end("there"));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "::1", resolve);
  });
  cleanup.defer(() => void server.close());
  cleanup.defer(() => server.closeAllConnections());
  return (server.address() as AddressInfo).port;
}

beforeAll(async () => {
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  for (const [name, text] of [
    ["shop.pem", shop.cert],
    ["shop.key", shop.key],
    ["ca.pem", authority.cert],
  ] as const) {
    await writeFile(join(dir.path, name), text);
  }
  const ports = { v6: await startOrigin(origins.v6), other: await startOrigin(origins.other) };
  securePorts.default = await freePort();
  securePorts.envoy = await freePort();
  planes = await startDataPlanes(
    (group, port) => `
gatewayGroups:
  - name: ${group}
    listeners:
      - { name: http, address: 127.0.0.1, port: ${port} }
      - name: https
        protocol: https
        address: 127.0.0.1
        port: ${securePorts[group]}
        tls:
          certificates: [shop]
          clientValidation: { ca: company, subjectAltNames: ["urn:example:client", "2001:DB8:0::a"] }
certificates: [{ name: shop, gatewayGroup: ${group}, certificateFile: ${dir.path}/shop.pem, keyFile: ${dir.path}/shop.key }]
caCertificates: [{ name: company, gatewayGroup: ${group}, certificatesFile: ${dir.path}/ca.pem }]
services:
  - name: s
    gatewayGroup: ${group}
    upstreams:
      - { name: v6, tls: { ca: company }, nodes: [{ host: "0:0::1", port: ${ports.v6} }] }
      - { name: other, tls: { ca: company }, nodes: [{ host: "::1", port: ${ports.other} }] }
    routes:
      - { name: root, paths: [/], directResponse: { status: 200 } }
      - { name: v6, paths: [/v6], upstream: v6 }
      - { name: other, paths: [/other], upstream: other }
`,
    "shop.test",
  );
  cleanup.defer(() => planes.stop());
});

afterAll(() => cleanup.disposeAsync());

test("the certificate of an upstream is for its IPv6 address, however that is written", async () => {
  for (const side of ["native", "envoy"] as const) {
    const of = async (path: string) => (await ask(planes[side].port, { path, headers: { host: "shop.test" } })).status;
    expect([side, await of("/v6"), await of("/other")]).toEqual([side, 200, 503]);
  }
});

/** The status of an answer to a client with this certificate; 0: the handshake, or the request behind it, came to nothing. */
const askSecurely = (port: number, { cert, key }: TestCertificate) =>
  new Promise<number>((resolve) => {
    const options = { port, cert, key, ca: authority.cert, servername: "shop.test", headers: { host: "shop.test" } };
    request({ host: "127.0.0.1", agent: false, ...options }, (response) => {
      response.resume().once("end", () => resolve(response.statusCode ?? 0));
    })
      .once("error", () => resolve(0))
      .end();
  });

test("clients are known by a URI without an authority, or by an IPv6 address", async () => {
  for (const group of ["default", "envoy"] as const) {
    const port = securePorts[group];
    await waitFor("the listener", async () => (await askSecurely(port, clients.urn)) === 200);
    const statuses = [await askSecurely(port, clients.address), await askSecurely(port, clients.dns)];
    expect([group, ...statuses]).toEqual([group, 200, 0]);
  }
});
