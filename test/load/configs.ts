/** What all peers are configured for: 1,000 routes on 100 hosts, a request id, a JSON access log in a file, keep-alive both ways; TLS and gRPC beside it. */
import { join } from "node:path";

import { stringify } from "yaml";

/** Hosts, and routes of each. */
export const SERVICES = 100;
export const ROUTES = 10;

export const host = (service: number) => `svc-${service}.example.com`;

/** The host of the gRPC service. */
export const GRPC_HOST = "grpc.example.com";

/** Where a peer listens: plain, and TLS with a certificate of either kind of key. */
export interface PeerPorts {
  readonly plain: number;
  readonly rsa: number;
  readonly ecdsa: number;
}

/** Where the upstream listens: HTTP/1.1, and HTTP/2 without TLS for gRPC. */
export interface UpstreamPorts {
  readonly http: number;
  readonly grpc: number;
}

/** The certificate of a kind, and its key: files in the folder that all peers share. */
export const certificateFile = (dir: string, kind: "rsa" | "ecdsa") => join(dir, `${kind}.pem`);
export const keyFile = (dir: string, kind: "rsa" | "ecdsa") => join(dir, `${kind}.key`);

/** The gateway file of the native proxy and of Envoy; `dir` holds the certificates and takes the logs. */
export const gatewayFile = (
  groups: Readonly<Record<string, PeerPorts>>,
  upstream: UpstreamPorts,
  dir: string,
): string => {
  const names = Object.keys(groups);
  const tls = (kind: "rsa" | "ecdsa", port: number) => ({
    ...{ name: kind, protocol: "https", address: "127.0.0.1", port },
    tls: { certificates: [kind] },
  });
  return stringify(
    {
      gatewayGroups: Object.entries(groups).map(([name, ports]) => ({
        name,
        listeners: [
          { name: "http", protocol: "http", address: "127.0.0.1", port: ports.plain },
          tls("rsa", ports.rsa),
          tls("ecdsa", ports.ecdsa),
        ],
        accessLog: { path: join(dir, `${name}.log`) },
      })),
      certificates: names.flatMap((gatewayGroup) =>
        (["rsa", "ecdsa"] as const).map((name) => ({
          ...{ name, gatewayGroup },
          certificateFile: certificateFile(dir, name),
          keyFile: keyFile(dir, name),
        })),
      ),
      services: names.flatMap((gatewayGroup) => [
        ...Array.from({ length: SERVICES }, (_, service) => ({
          name: `svc-${service}`,
          gatewayGroup,
          hosts: [host(service)],
          upstreams: [{ name: "default", nodes: [{ host: "127.0.0.1", port: upstream.http }] }],
          routes: Array.from({ length: ROUTES }, (_unused, route) => ({
            name: `v${route}`,
            paths: [`/api/v${route}/items/*`],
          })),
        })),
        {
          ...{ name: "grpc", gatewayGroup, hosts: [GRPC_HOST] },
          upstreams: [{ name: "default", protocol: "grpc", nodes: [{ host: "127.0.0.1", port: upstream.grpc }] }],
          routes: [{ name: "all", paths: ["/*"] }],
        },
      ]),
    },
    { aliasDuplicateObjects: false },
  );
};
