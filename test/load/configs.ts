/** Configuration of the peers: 1,000 routes on 100 hosts, a request id, a JSON access log in a file, keep-alive both ways. */
import { join } from "node:path";

import { stringify } from "yaml";

/** Hosts, and routes of each. */
export const SERVICES = 100;
export const ROUTES = 10;

export const host = (service: number) => `svc-${service}.example.com`;

/** The gateway file of the native proxy and of Envoy. */
export const gatewayFile = (ports: Readonly<Record<string, number>>, upstreamPort: number, dir: string): string =>
  stringify(
    {
      gatewayGroups: Object.entries(ports).map(([name, port]) => ({
        name,
        listeners: [{ name: "http", protocol: "http", address: "127.0.0.1", port }],
        accessLog: { path: join(dir, `${name}.log`) },
      })),
      services: Object.keys(ports).flatMap((gatewayGroup) =>
        Array.from({ length: SERVICES }, (_, service) => ({
          name: `svc-${service}`,
          gatewayGroup,
          hosts: [host(service)],
          upstreams: [{ name: "default", nodes: [{ host: "127.0.0.1", port: upstreamPort }] }],
          routes: Array.from({ length: ROUTES }, (_unused, route) => ({
            name: `v${route}`,
            paths: [`/api/v${route}/items/*`],
          })),
        })),
      ),
    },
    { aliasDuplicateObjects: false },
  );

const nginxBase = `daemon off; worker_processes 1; pid nginx.pid;
events { worker_connections 4096; }`;

/** Debian's build would use folders of the system, which only an installed package has. */
const nginxPaths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
  .map((name) => `${name}_temp_path ${name}_temp;`)
  .join(" ");

/**
 * nginx as the upstream of all of them. One word of its configuration has at most 4 KiB, so larger bodies are put together from variables.
 */
export const upstreamConfig = (port: number) => `${nginxBase}
http {
  ${nginxPaths}
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;
  server {
    listen 127.0.0.1:${port};
    location / { default_type text/plain; return 200 "hello from the upstream\\n"; }
    location ~ 1m$ {
      default_type text/plain; set $kilo "${"x".repeat(1_000)}"; set $ten "${"$kilo".repeat(10)}"; return 200 "${"$ten".repeat(100)}";
    }
    location ~ 10k$ { default_type text/plain; set $kilo "${"x".repeat(1_000)}"; return 200 "${"$kilo".repeat(10)}"; }
  }
}`;

/** nginx as the peer. */
export const proxyConfig = (port: number, upstreamPort: number) => `${nginxBase}
http {
  ${nginxPaths}
  log_format json escape=json '{"time":"$time_iso8601","method":"$request_method","path":"$request_uri","status":$status,'
    '"received":$request_length,"sent":$bytes_sent,"duration":$request_time,"upstream":"$upstream_addr","host":"$host",'
    '"id":"$request_id","client":"$remote_addr","agent":"$http_user_agent"}';
  access_log access.log json buffer=64k flush=1s;
  keepalive_requests 1000000000; keepalive_timeout 3600; server_names_hash_max_size 2048;
  upstream backend { server 127.0.0.1:${upstreamPort}; keepalive 128; keepalive_requests 1000000000; }
  client_max_body_size 0; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Request-Id $request_id; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme;
${Array.from(
  { length: SERVICES },
  (_, service) => `  server { listen 127.0.0.1:${port}; server_name ${host(service)};
${Array.from({ length: ROUTES }, (_unused, route) => `    location /api/v${route}/items/ { proxy_pass http://backend; }`).join("\n")}
  }`,
).join("\n")}
}`;

/** haproxy as the peer; its log goes to standard output, which the shell that starts it sends to a file. */
export const haproxyConfig = (port: number, upstreamPort: number) => `
global
  nbthread 1
  maxconn 4000
  log stdout format raw local0
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  log global
  option http-keep-alive
  http-reuse always
frontend front
  bind 127.0.0.1:${port}
  unique-id-format %{+X}o%ci%cp%fi%fp%Ts%rt%pid
  unique-id-header x-request-id
  option forwardfor
  http-request set-header x-forwarded-proto http
  log-format '{"time":"%t","method":"%HM","path":"%HU","status":%ST,"received":%U,"sent":%B,"duration":%Ta,"upstream":"%si:%sp","host":"%[var(txn.host)]","id":"%ID","client":"%ci:%cp"}'
  http-request set-var(txn.host) hdr(host)
${Array.from({ length: SERVICES }, (_, service) =>
  Array.from(
    { length: ROUTES },
    (_unused, route) => `  use_backend back if { hdr(host) ${host(service)} } { path_beg /api/v${route}/items/ }`,
  ).join("\n"),
).join("\n")}
backend back
  server origin 127.0.0.1:${upstreamPort}
`;
