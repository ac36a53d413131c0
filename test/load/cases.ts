import { host, ROUTES, SERVICES } from "./configs.ts";

/** One kind of load. */
export interface LoadCase {
  /** What `--case` selects it by. */
  readonly id: string;
  readonly name: string;
  readonly connections: number;
  /** HTTP/2 or gRPC over it; undefined: HTTP/1.1. */
  readonly protocol?: "h2" | "grpc";
  /** Concurrent streams of each HTTP/2 connection. */
  readonly streams?: number;
  /** The key of the certificate; undefined: no TLS. */
  readonly tls?: "rsa" | "ecdsa";
  /** A connection for each request, handshake included; clients offer the session that they had before. */
  readonly reconnects?: boolean;
  /** The last part of the path, by which the upstream knows what to answer. */
  readonly answer: "small" | "10k" | "1m";
  /** Bytes of the request's body; 0: a GET. */
  readonly bodyBytes: number;
}

const get = { answer: "small", bodyBytes: 0 } as const;

export const cases: readonly LoadCase[] = [
  { id: "get-1", name: "GET, 1 connection", connections: 1, ...get },
  { id: "get-64", name: "GET, 64 connections", connections: 64, ...get },
  { id: "get-1000", name: "GET, 1,000 connections", connections: 1_000, ...get },
  { id: "get-10k", name: "GET 10 kB, 64 connections", connections: 64, answer: "10k", bodyBytes: 0 },
  { id: "get-1m", name: "GET 1 MB, 64 connections", connections: 64, answer: "1m", bodyBytes: 0 },
  { id: "post-10k", name: "POST 10 kB, 64 connections", connections: 64, answer: "small", bodyBytes: 10_000 },
  { id: "tls-rsa", name: "GET, TLS (RSA), 64 connections", connections: 64, tls: "rsa", ...get },
  { id: "tls-ecdsa", name: "GET, TLS (ECDSA), 64 connections", connections: 64, tls: "ecdsa", ...get },
  { id: "connect", name: "GET, each on a new connection", connections: 64, reconnects: true, ...get },
  {
    id: "connect-rsa",
    name: "GET, each with a handshake (RSA)",
    connections: 64,
    tls: "rsa",
    reconnects: true,
    ...get,
  },
  {
    id: "connect-ecdsa",
    name: "GET, each with a handshake (ECDSA)",
    connections: 64,
    tls: "ecdsa",
    reconnects: true,
    ...get,
  },
  {
    id: "h2",
    name: "GET, HTTP/2, 4 × 16 streams, TLS",
    connections: 4,
    protocol: "h2",
    streams: 16,
    tls: "ecdsa",
    ...get,
  },
  {
    id: "grpc",
    name: "gRPC unary, 4 × 16 streams, TLS",
    connections: 4,
    protocol: "grpc",
    streams: 16,
    tls: "ecdsa",
    ...get,
  },
];

/** Bytes of an answer's body at least; the load generators count what they read. */
export const answerBytes = { small: 24, "10k": 10_000, "1m": 1_000_000 } as const;

/** The path of a service's route. */
export const pathOf = (route: number, { answer }: Pick<LoadCase, "answer">): string => `/api/v${route}/items/${answer}`;

/** wrk asks for every service and route in turn, at 127.0.0.1 whatever the name in its URL is. */
export const wrkScript = (load: LoadCase): string => `
function wrk.resolve(host, service)
  wrk.addrs = wrk.lookup("127.0.0.1", service)
end
local requests = {}
local body = string.rep("x", ${load.bodyBytes})
for s = 0, ${SERVICES - 1} do
  for r = 0, ${ROUTES - 1} do
    requests[#requests + 1] = wrk.format("${load.bodyBytes > 0 ? "POST" : "GET"}", "/api/v" .. r .. "/items/${load.answer}", {
      ["Host"] = "svc-" .. s .. ".example.com", ["User-Agent"] = "wrk", ["Accept"] = "*/*"${load.reconnects === true ? ', ["Connection"] = "close"' : ""}
    }, ${load.bodyBytes > 0 ? "body" : "nil"})
  end
end
local at = 0
request = function()
  at = at % #requests + 1
  return requests[at]
end
`;

/** The name that clients ask for where TLS wants one. */
export const SERVER_NAME = host(7);
