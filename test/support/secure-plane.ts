import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { TestAuthority } from "./certificates.ts";
import { ControlPlane, temporaryDir } from "./gateway.ts";
import { freePort } from "./ports.ts";
import { startUpstream } from "./upstream.ts";

/**
 * A control plane that speaks TLS to its data planes, with a gateway of one service, and a join token made by `sluice token create`.
 * `args` is what `sluice proxy` and `sluice bootstrap envoy` need to join. With `clientCertificates` a verified certificate is needed
 * besides, and `client.pem`, whose URI names the group "default", joins without the token.
 */
export async function startSecurePlane(cleanup: AsyncDisposableStack, { clientCertificates = false } = {}) {
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  const file = (name: string) => join(dir.path, name);
  const authority = new TestAuthority();
  const { cert, key } = authority.issue({ name: "sluice", altNames: ["IP:127.0.0.1"] });
  await writeFile(file("ca.pem"), authority.cert);
  await writeFile(file("xds.pem"), cert);
  await writeFile(file("xds.key"), key);
  const client = authority.issue({ name: "client", altNames: ["URI:spiffe://example.org/gateway-group/default"] });
  await writeFile(file("client.pem"), client.cert);
  await writeFile(file("client.key"), client.key);
  const serverArgs = ["--xds-tls-cert", file("xds.pem"), "--xds-tls-key", file("xds.key")];
  if (clientCertificates) serverArgs.push("--xds-client-ca", file("ca.pem"));
  const data = file("data");
  const plane = await ControlPlane.start(data, { args: serverArgs });
  cleanup.defer(() => plane.program.stop());

  const upstream = await startUpstream("only");
  cleanup.defer(() => upstream.close());
  const port = await freePort();
  const gateway = `gatewayGroups:
  - name: default
    listeners: [{ name: http, address: 127.0.0.1, port: ${port} }]
services:
  - name: only
    upstreams: [{ name: default, nodes: [{ host: 127.0.0.1, port: ${upstream.port} }] }]
    routes: [{ name: all, paths: [/*] }]
`;
  await writeFile(file("gateway.yaml"), gateway);
  const applied = await plane.sluice("apply", "-f", file("gateway.yaml"));
  if (applied.code !== 0) throw new Error(applied.stderr);
  const created = await plane.sluice("token", "create", "first");
  if (created.code !== 0) throw new Error(created.stderr);
  await writeFile(file("token"), created.stdout);
  const args = ["--xds-ca", file("ca.pem"), "--join-token-file", file("token")];
  return { plane, port, file, args, serverArgs, token: created.stdout.trim() };
}
