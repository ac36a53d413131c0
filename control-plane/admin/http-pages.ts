import type { IncomingMessage, ServerResponse } from "node:http";
import type { Http2ServerRequest, Http2ServerResponse } from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";

import type { MetricsRegistry } from "../observe/metrics.ts";
import { isLoopback } from "./address.ts";
import { isAuthentic } from "./authenticate.ts";
import type { Readiness } from "./health.ts";
import type { AdminToken } from "./token.ts";

/** A disk may be slow. */
const REOPEN_MS_MAX = 10_000;

type Request = IncomingMessage | Http2ServerRequest;
type Response = ServerResponse | Http2ServerResponse;

/** What the pages show. */
export interface PageSources {
  readonly readiness: Readiness;
  readonly metrics: MetricsRegistry;
  readonly token: AdminToken;
  /** Opens log files anew; resolves when nothing more will be written to those of before. */
  readonly reopenLogs: () => Promise<void>;
  /** Whether only this machine reaches the port. */
  readonly onLoopback: boolean;
}

/** The pages beside the admin API: /healthz, /metrics and /reopen_logs; 404 for anything else. */
export function servePage(request: Request, response: Response, sources: PageSources): void {
  const path = (request.url ?? "").split("?", 1)[0];
  if (path === "/reopen_logs") {
    void reopenLogs(request, response, sources);
  } else if (path !== "/healthz" && path !== "/metrics") {
    answer(
      response,
      404,
      "there is nothing here; the admin API is gRPC, gRPC-Web and Connect: POST /PACKAGE.SERVICE/METHOD\n",
    );
  } else if (request.method !== "GET" && request.method !== "HEAD") {
    answer(response, 405, "only GET\n", { allow: "GET, HEAD" });
  } else if (path === "/healthz") {
    if (sources.readiness.ready) answer(response, 200, "ok\n");
    else answer(response, 503, "not ready\n");
  } else if (mayReadMetrics(request, sources)) {
    answer(response, 200, sources.metrics.text(), { "content-type": "text/plain; version=0.0.4; charset=utf-8" });
  } else {
    refuseStranger(response);
  }
}

/** After a rotation. */
async function reopenLogs(
  request: Request,
  response: Response,
  { token, reopenLogs: reopen }: PageSources,
): Promise<void> {
  if (request.method !== "POST") {
    answer(response, 405, "only POST\n", { allow: "POST" });
  } else if (isAuthentic(token, request.headers.authorization)) {
    const isDone = await Promise.race([reopen().then(() => true), sleep(REOPEN_MS_MAX, false, { ref: false })]);
    if (isDone) answer(response, 200, "OK\n");
    else answer(response, 503, "the file of before may still be written to; try again\n");
  } else {
    refuseStranger(response);
  }
}

function refuseStranger(response: Response): void {
  answer(response, 401, 'a token is missing or wrong: send the header "authorization: Bearer TOKEN"\n', {
    "www-authenticate": "Bearer",
  });
}

/**
 * Whether a request comes from a page of another site, as a browser tells it (Fetch standard: Origin, Sec-Fetch-Site). No page but our
 * own has business here.
 */
export function isCrossOrigin({ headers }: Request): boolean {
  const site = headers["sec-fetch-site"];
  if (site === "cross-site" || site === "same-site") return true;
  const { origin } = headers;
  if (origin === undefined) return false;
  return !URL.canParse(origin) || new URL(origin).host !== hostOf(headers);
}

/** Refuses a request by `isCrossOrigin`. */
export function refuseCrossOrigin(response: Response): void {
  answer(response, 403, "requests from other sites' pages are refused\n");
}

/**
 * Without a token only on loopback, and only for callers that name this machine by an address or as localhost: a page whose name was
 * turned to 127.0.0.1 (DNS rebinding) names another host.
 */
function mayReadMetrics({ headers }: Request, { token, onLoopback }: PageSources): boolean {
  if (isAuthentic(token, headers.authorization)) return true;
  const name = hostOf(headers)
    .replace(/:\d+$/, "")
    .replace(/^\[(.*)\]$/, "$1");
  return onLoopback && isLoopback(name);
}

const hostOf = (headers: Request["headers"]): string => String(headers[":authority"] ?? headers.host ?? "");

function answer(response: Response, status: number, body: string, headers: Record<string, string> = {}): void {
  response.statusCode = status;
  const all = { "content-type": "text/plain; charset=utf-8", "x-content-type-options": "nosniff", ...headers };
  for (const [name, value] of Object.entries(all)) response.setHeader(name, value);
  response.end(body);
}
