import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import type { Interceptor } from "@connectrpc/connect";

import { type ControlPlaneOptions, type RunningControlPlane, runControlPlane } from "../../control-plane/main.ts";

/** A token for tests, of the right form. */
export const testToken = `sluice_${"t".repeat(43)}`;

/** A control plane in this process. */
export interface TestControlPlane extends RunningControlPlane {
  readonly dataDirectory: string;
  /** Base URL of the admin API. */
  readonly url: string;
}

/** Starts a control plane on free ports, with `testToken`, and an empty data directory unless `options` name one. */
export async function startControlPlane(options: Partial<ControlPlaneOptions> = {}): Promise<TestControlPlane> {
  const own = options.dataDirectory === undefined ? await mkdtemp(join(tmpdir(), "sluice-test-")) : undefined;
  const dataDirectory = options.dataDirectory ?? join(own ?? "", "data");
  process.env["SLUICE_ADMIN_TOKEN"] = testToken;
  const running = await runControlPlane({
    dataDirectory,
    adminAddress: "127.0.0.1:0",
    xdsAddress: "127.0.0.1:0",
    logLevel: "silent",
    ...options,
  });
  const scheme = options.adminTlsCert === undefined ? "http" : "https";
  return {
    ...running,
    dataDirectory,
    url: `${scheme}://${running.adminAddress}`,
    async close() {
      await running.close();
      if (own !== undefined) await rm(own, { recursive: true, force: true });
    },
  };
}

/** Sends the token with each call. */
export const authorized =
  (token: string = testToken): Interceptor =>
  (next) =>
  (request) => {
    request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
