/** nginx as the upstream of all peers, and as one of them. */
import {
  certificateFile,
  GRPC_HOST,
  host,
  keyFile,
  type PeerPorts,
  ROUTES,
  SERVICES,
  type UpstreamPorts,
} from "./configs.ts";

// Where root runs it: the folder of its files is for its owner only.
const base = `daemon off; user root root; worker_processes 1; pid nginx.pid; worker_rlimit_nofile 16384;
events { worker_connections 16384; }`;

/** Debian's build would use folders of the system, which only an installed package has. */
const paths = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
  .map((name) => `${name}_temp_path ${name}_temp;`)
  .join(" ");

/**
 * The upstream; without a port for gRPC it has none. One word of its configuration has at most 4 KiB, so larger bodies are put together from variables. A gRPC call gets the file
 * "message", as static files alone may hold any byte; they refuse POST, which error_page turns into the file. Its request is read before that, which
 * "mirror" does by the way: a stream that ends unread is reset, and a proxy may take that for a failure.
 */
export const upstreamConfig = (ports: Pick<UpstreamPorts, "http"> & Partial<UpstreamPorts>) => `${base}
http {
  ${paths}
  access_log off; keepalive_requests 1000000000; keepalive_timeout 3600;
  server {
    listen 127.0.0.1:${ports.http};
    location / { default_type text/plain; return 200 "hello from the upstream\\n"; }
    location ~ 1m$ {
      default_type text/plain; set $kilo "${"x".repeat(1_000)}"; set $ten "${"$kilo".repeat(10)}"; return 200 "${"$ten".repeat(100)}";
    }
    location ~ 10k$ { default_type text/plain; set $kilo "${"x".repeat(1_000)}"; return 200 "${"$kilo".repeat(10)}"; }
  }
${ports.grpc === undefined ? "" : grpcServer(ports.grpc)}
}`;

const grpcServer = (port: number) => `  server {
    listen 127.0.0.1:${port} http2;
    root .; open_file_cache max=10; default_type application/grpc; http2_max_concurrent_streams 1000;
    error_page 405 =200 /message;
    location = /read { internal; return 204; }
    location / { mirror /read; try_files /message =404; add_trailer grpc-status 0 always; }
  }`;

const tlsServer = (dir: string, kind: "rsa" | "ecdsa", port: number) =>
  `listen 127.0.0.1:${port} ssl http2; ssl_certificate ${certificateFile(dir, kind)}; ssl_certificate_key ${keyFile(dir, kind)};`;

/** The peer; `dir` holds the certificates. */
export const proxyConfig = (ports: PeerPorts, upstream: UpstreamPorts, dir: string) => {
  // One certificate for each port: a server of its own, which knows the same hosts.
  const listens = [
    `listen 127.0.0.1:${ports.plain};`,
    tlsServer(dir, "rsa", ports.rsa),
    tlsServer(dir, "ecdsa", ports.ecdsa),
  ];
  const routes = Array.from(
    { length: ROUTES },
    (_, route) => `    location /api/v${route}/items/ { proxy_pass http://backend; }`,
  ).join("\n");
  const servers = Array.from({ length: SERVICES }, (_, service) =>
    listens.map((listen) => `  server { ${listen} server_name ${host(service)};\n${routes}\n  }`).join("\n"),
  ).join("\n");
  return `${base}
http {
  ${paths}
  log_format json escape=json '{"time":"$time_iso8601","method":"$request_method","path":"$request_uri","status":$status,'
    '"received":$request_length,"sent":$bytes_sent,"duration":$request_time,"upstream":"$upstream_addr","host":"$host",'
    '"id":"$request_id","client":"$remote_addr","agent":"$http_user_agent"}';
  access_log access.log json buffer=64k flush=1s;
  keepalive_requests 1000000000; keepalive_timeout 3600; server_names_hash_max_size 2048;
  ssl_session_cache shared:tls:10m; ssl_protocols TLSv1.2 TLSv1.3; http2_max_concurrent_streams 1000;
  upstream backend { server 127.0.0.1:${upstream.http}; keepalive 128; keepalive_requests 1000000000; }
  upstream calls { server 127.0.0.1:${upstream.grpc}; keepalive 128; keepalive_requests 1000000000; }
  client_max_body_size 0; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $host;
  proxy_set_header X-Request-Id $request_id; proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
  proxy_set_header X-Forwarded-Proto $scheme; grpc_set_header X-Request-Id $request_id;
${servers}
${listens
  .slice(1)
  .map((listen) => `  server { ${listen} server_name ${GRPC_HOST}; location / { grpc_pass grpc://calls; } }`)
  .join("\n")}
}`;
};
