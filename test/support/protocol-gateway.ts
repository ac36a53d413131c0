import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { TestAuthority, type TestCertificate } from "./certificates.ts";
import { type GrpcEcho, startGrpcEcho } from "./grpc-echo.ts";
import { freePort } from "./ports.ts";
import { startSecureOrigin } from "./secure-origin.ts";
import { startUpstream, type Upstream } from "./upstream.ts";

/** The listeners of {@link ProtocolGateway}, each on a port of its own. */
export interface ProtocolPorts {
  /** HTTP/1.1 and h2c. */
  readonly plain: number;
  /** TLS with ALPN, gRPC-Web. */
  readonly https: number;
  /** TLS, with a certificate of the client's. */
  readonly mutual: number;
  /** Behind one proxy that is trusted and sends the PROXY protocol. */
  readonly proxied: number;
  /** One connection at once. */
  readonly narrow: number;
}

/** A gateway file of every protocol, the origins behind it, and what its clients need. */
export interface ProtocolGateway {
  readonly authority: TestAuthority;
  /** For clients of the listener `mutual`. */
  readonly clientCertificate: TestCertificate;
  readonly grpc: GrpcEcho;
  readonly web: Upstream;
  readonly ports: ProtocolPorts;
  /** Where the access log goes. */
  readonly logFile: string;
  /** Writes the gateway file of a group into the folder, with the files that it names; the path of it. */
  write(group: string): Promise<string>;
  close(): Promise<void>;
}

/** Starts the origins. */
export async function startProtocolGateway(folder: string): Promise<ProtocolGateway> {
  const authority = new TestAuthority();
  const issue = (name: string) => authority.issue({ name, altNames: [`DNS:${name}.test`, `DNS:*.${name}.test`] });
  const secure = await startSecureOrigin(issue("origin"), authority.cert);
  const grpc = await startGrpcEcho();
  const web = await startUpstream("web");
  const ports: ProtocolPorts = {
    plain: await freePort(),
    https: await freePort(),
    mutual: await freePort(),
    proxied: await freePort(),
    narrow: await freePort(),
  };
  const logFile = join(folder, "access.log");
  return {
    authority,
    clientCertificate: issue("client"),
    grpc,
    web,
    ports,
    logFile,
    async write(group) {
      for (const [name, { cert, key }] of [["shop", issue("shop")] as const, ["gateway", issue("gateway")] as const]) {
        await writeFile(join(folder, `${name}.pem`), cert);
        await writeFile(join(folder, `${name}.key`), key);
      }
      await writeFile(join(folder, "company.pem"), authority.cert);
      const file = join(folder, "protocols.yaml");
      await writeFile(file, gateway(group, ports, { secure: secure.port, grpc: grpc.port, web: web.port }, logFile));
      return file;
    },
    async close() {
      grpc.close();
      secure.close();
      await web.close();
      authority[Symbol.dispose]();
    },
  };
}

const gateway = (
  group: string,
  ports: ProtocolPorts,
  origins: { secure: number; grpc: number; web: number },
  logFile: string,
) => `
gatewayGroups:
  - name: ${group}
    accessLog: { path: ${logFile}, text: "%PROTOCOL% %RESPONSE_CODE% %GRPC_STATUS% %REQ(:AUTHORITY)%" }
    listeners:
      - { name: plain, port: ${ports.plain} }
      - { name: https, protocol: https, port: ${ports.https}, tls: { certificates: [shop] }, http: { grpcWeb: true } }
      - name: mutual
        protocol: https
        port: ${ports.mutual}
        tls: { certificates: [shop], minVersion: tls1_3, clientValidation: { ca: company, subjectAltNames: [client.test] } }
      - { name: proxied, port: ${ports.proxied}, proxyProtocol: true, http: { trustedHops: 1 } }
      - { name: narrow, port: ${ports.narrow}, maxConnections: 1 }
certificates:
  - { name: shop, gatewayGroup: ${group}, certificateFile: shop.pem, keyFile: shop.key }
  - { name: gateway, gatewayGroup: ${group}, certificateFile: gateway.pem, keyFile: gateway.key }
caCertificates:
  - { name: company, gatewayGroup: ${group}, certificatesFile: company.pem }
services:
  - name: grpc
    gatewayGroup: ${group}
    hosts: [grpc.shop.test]
    upstreams: [{ name: default, protocol: grpc, nodes: [{ host: 127.0.0.1, port: ${origins.grpc} }] }]
    routes: [{ name: all, paths: [/*] }]
  - name: web
    gatewayGroup: ${group}
    requestHeaders: { set: { X-Client: "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%" } }
    upstreams: [{ name: default, nodes: [{ host: 127.0.0.1, port: ${origins.web} }] }]
    routes: [{ name: all, paths: [/*], websocket: true }]
${["http1", "http2", "auto"]
  .map(
    (protocol) => `  - name: ${protocol}
    gatewayGroup: ${group}
    hosts: [${protocol}.shop.test]
    upstreams:
      - name: default
        protocol: ${protocol}
        tls: { ca: company, clientCertificate: gateway, sni: origin.test }
        nodes: [{ host: 127.0.0.1, port: ${origins.secure} }]
    routes: [{ name: all, paths: [/*] }]
`,
  )
  .join("")}`;
