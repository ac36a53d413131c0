import { GRPC_HOST, host, type PeerPorts, ROUTES, SERVICES, type UpstreamPorts } from "./configs.ts";

/**
 * haproxy as a peer; its log goes to standard output, which the shell that starts it sends to a file. `bundle`: the file of a kind's certificate
 * and key together.
 */
export const haproxyConfig = (
  ports: PeerPorts,
  upstream: UpstreamPorts,
  bundle: (kind: "rsa" | "ecdsa") => string,
): string => `
global
  nbthread 1
  maxconn 16000
  no strict-limits
  log stdout format raw local0
  tune.h2.max-concurrent-streams 1000
defaults
  mode http
  timeout connect 5s
  timeout client 1h
  timeout server 1h
  log global
  option http-keep-alive
  http-reuse always
frontend front
  bind 127.0.0.1:${ports.plain}
  bind 127.0.0.1:${ports.rsa} ssl crt ${bundle("rsa")} alpn h2,http/1.1
  bind 127.0.0.1:${ports.ecdsa} ssl crt ${bundle("ecdsa")} alpn h2,http/1.1
  unique-id-format %{+X}o%ci%cp%fi%fp%Ts%rt%pid
  unique-id-header x-request-id
  option forwardfor
  http-request set-header x-forwarded-proto http
  log-format '{"time":"%t","method":"%HM","path":"%HU","status":%ST,"received":%U,"sent":%B,"duration":%Ta,"upstream":"%si:%sp","host":"%[var(txn.host)]","id":"%ID","client":"%ci:%cp"}'
  http-request set-var(txn.host) hdr(host)
  use_backend calls if { hdr(host) ${GRPC_HOST} }
${Array.from({ length: SERVICES }, (_, service) =>
  Array.from(
    { length: ROUTES },
    (_unused, route) => `  use_backend back if { hdr(host) ${host(service)} } { path_beg /api/v${route}/items/ }`,
  ).join("\n"),
).join("\n")}
backend back
  server origin 127.0.0.1:${upstream.http}
backend calls
  server origin 127.0.0.1:${upstream.grpc} proto h2
`;
