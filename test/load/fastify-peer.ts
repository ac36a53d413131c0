import { execFile } from "node:child_process";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { cached } from "../support/tools.ts";
import { ROUTES } from "./configs.ts";

const run = promisify(execFile);

/** Versions that are measured. They are no dependencies of ours: the tools' cache takes them. */
const PACKAGES = ["fastify@5.12.8", "@fastify/http-proxy@11.6.3"];

/**
 * fastify's http-proxy as a peer: what a gateway made of Node's own parts and undici costs. Plain HTTP only, and the routes of one
 * host for all: its router takes 31 hosts for a path at most.
 */
const program = (port: number, upstreamPort: number, log: string) => `
import { randomUUID } from "node:crypto";
import proxy from "@fastify/http-proxy";
import fastify from "fastify";
const app = fastify({
  logger: { level: "info", file: ${JSON.stringify(log)} },
  genReqId: () => randomUUID(),
  keepAliveTimeout: 3_600_000,
});
for (let route = 0; route < ${ROUTES}; route++) {
  const prefix = "/api/v" + route + "/items";
  app.register(proxy, {
    upstream: "http://127.0.0.1:${upstreamPort}",
    prefix,
    rewritePrefix: prefix,
    undici: { connections: 128 },
    replyOptions: {
      rewriteRequestHeaders: (request, headers) => ({ ...headers, "x-request-id": request.id, "x-forwarded-for": request.ip }),
    },
  });
}
await app.listen({ port: ${port}, host: "127.0.0.1" });
`;

/** Writes the program beside its packages and returns its path. */
export async function fastifyPeer(port: number, upstreamPort: number, log: string): Promise<string> {
  const dir = await cached("fastify-5.12.8-11.6.3", async (to) => {
    await run("npm", ["install", "--prefix", to, "--no-audit", "--no-fund", ...PACKAGES]);
  });
  const path = join(dir, `peer-${port}.mjs`);
  await writeFile(path, program(port, upstreamPort, log));
  return path;
}
