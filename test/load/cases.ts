import { ROUTES, SERVICES } from "./configs.ts";

/** One kind of load. */
export interface LoadCase {
  /** What `--case` selects it by. */
  readonly id: string;
  readonly name: string;
  readonly connections: number;
  /** The last part of the path, by which the upstream knows what to answer. */
  readonly answer: "small" | "10k" | "1m";
  /** Bytes of the request's body; 0: a GET. */
  readonly bodyBytes: number;
}

export const cases: readonly LoadCase[] = [
  { id: "get-1", name: "GET, 1 connection", connections: 1, answer: "small", bodyBytes: 0 },
  { id: "get-64", name: "GET, 64 connections", connections: 64, answer: "small", bodyBytes: 0 },
  { id: "get-1000", name: "GET, 1,000 connections", connections: 1_000, answer: "small", bodyBytes: 0 },
  { id: "get-10k", name: "GET 10 kB, 64 connections", connections: 64, answer: "10k", bodyBytes: 0 },
  { id: "get-1m", name: "GET 1 MB, 64 connections", connections: 64, answer: "1m", bodyBytes: 0 },
  { id: "post-10k", name: "POST 10 kB, 64 connections", connections: 64, answer: "small", bodyBytes: 10_000 },
];

/** wrk asks for every service and route in turn. */
export const wrkScript = ({ answer, bodyBytes }: LoadCase): string => `
local requests = {}
local body = string.rep("x", ${bodyBytes})
for s = 0, ${SERVICES - 1} do
  for r = 0, ${ROUTES - 1} do
    requests[#requests + 1] = wrk.format("${bodyBytes > 0 ? "POST" : "GET"}", "/api/v" .. r .. "/items/${answer}", {
      ["Host"] = "svc-" .. s .. ".example.com", ["User-Agent"] = "wrk", ["Accept"] = "*/*"
    }, ${bodyBytes > 0 ? "body" : "nil"})
  end
end
local at = 0
request = function()
  at = at % #requests + 1
  return requests[at]
end
`;
