import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";

import type { Logger } from "pino";

import { type Page, text } from "./page.ts";
import { descriptorOf } from "../listen/descriptor.ts";
import { isFromPage } from "./from-page.ts";
import { endpoints } from "./pages.ts";
import type { AdminSource } from "./source.ts";

/** The admin endpoint, listening. */
export interface AdminServer {
  /** "host:port" with the port that it got. */
  readonly address: string;
  /** The descriptor of its listening socket, for a process that follows. */
  readonly fd: number;
  /** Stops it; requests under way are cut off. */
  close(): Promise<void>;
}

/** Whether an address can be reached from this machine only. */
export const isLoopback = (host: string) => host === "localhost" || host === "::1" || /^127(\.\d{1,3}){3}$/.test(host);

/**
 * Opens the admin endpoint. It has no authentication, as in Envoy, so callers must see to it that the address is a loopback one
 * unless the operator insists. A browser on this machine reaches that, too, so pages are refused. `inheritedFd`: an open listening socket of a former process, to be used instead of the address. Rejects if the address can't be had.
 */
export async function startAdmin(
  host: string,
  port: number,
  source: AdminSource,
  log: Pick<Logger, "error">,
  inheritedFd?: number,
): Promise<AdminServer> {
  const onLoopback = isLoopback(host);
  const server = createServer({ requestTimeout: 10_000, headersTimeout: 5_000 }, (request, response) => {
    if (isFromPage(request, onLoopback)) {
      // Its body, if it has one, isn't read.
      response.setHeader("connection", "close");
      write(request, response, text("requests from web pages are refused", 403));
      return;
    }
    answer(request, source).then(
      (page) => write(request, response, page),
      (error: unknown) => {
        log.error({ err: error, path: request.url }, "admin request failed");
        write(request, response, text("internal error; see the log", 500));
      },
    );
  });
  server.maxConnections = 128;
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject);
    server.listen(inheritedFd === undefined ? { host, port, exclusive: true } : { fd: inheritedFd }, resolve);
  });
  const bound = (server.address() as AddressInfo).port;
  return {
    address: host.includes(":") ? `[${host}]:${bound}` : `${host}:${bound}`,
    fd: descriptorOf(server),
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function answer(request: IncomingMessage, source: AdminSource): Promise<Page> {
  const url = URL.parse(request.url ?? "/", "http://admin/");
  const endpoint = url === null || !Object.hasOwn(endpoints, url.pathname) ? undefined : endpoints[url.pathname];
  if (url === null || endpoint === undefined) return text("no such path; GET / lists those that exist", 404);
  const method = request.method === "HEAD" ? "GET" : request.method;
  // As in Envoy a path that changes something takes POST only, so that no link and no image changes it.
  if (method !== endpoint.method)
    return text(`Method ${request.method} not allowed, ${endpoint.method} required.`, 405);
  if (method === "POST" && source.isHandingOver()) return text("a hot restart is under way; try again", 503);
  return endpoint.answer(source, url.searchParams);
}

function write(request: IncomingMessage, response: ServerResponse, page: Page): void {
  response.writeHead(page.status, {
    "content-type": page.contentType,
    "content-length": Buffer.byteLength(page.body),
    "cache-control": "no-cache, max-age=0",
    "x-content-type-options": "nosniff",
    ...(page.status === 405 ? { allow: request.method === "GET" ? "POST" : "GET" } : {}),
  });
  response.end(request.method === "HEAD" ? undefined : page.body);
}
