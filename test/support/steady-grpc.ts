import { setTimeout as sleep } from "node:timers/promises";

import { Client, credentials, status } from "@grpc/grpc-js";

import { callEcho } from "./grpc-echo.ts";
import type { SteadyLoad } from "./steady-load.ts";

const FAILURES_MAX = 50;
const DEADLINE_MS = 60_000;

/**
 * So many gRPC clients, each with a connection of its own over TLS, call the echo of this host one after the other. What gRPC itself sends
 * again, because the server said that it hasn't looked at it, is no failure; it is the library that knows.
 */
export function startSteadyGrpcLoad(
  port: number,
  host: string,
  ca: string,
  clients: number,
  { pauseMs = 0 } = {},
): SteadyLoad {
  const failures: string[] = [];
  let [answered, stopped] = [0, false];
  const client = async (which: number) => {
    const channel = new Client(`127.0.0.1:${port}`, credentials.createSsl(Buffer.from(ca)), {
      "grpc.default_authority": host,
      "grpc.ssl_target_name_override": host,
      "grpc.use_local_subchannel_pool": 1,
    });
    for (let n = 0; !stopped; n++) {
      const message = `${which}-${n}`;
      const { value, code, details } = await callEcho(channel, message, DEADLINE_MS);
      if (code === status.OK && value === `${message}!`) answered++;
      else if (failures.length < FAILURES_MAX) failures.push(`gRPC ${message}: ${code} ${details} ${value ?? ""}`);
      if (pauseMs > 0) await sleep(pauseMs);
    }
    channel.close();
  };
  const running = Array.from({ length: clients }, (_, which) => client(which));
  return {
    get answered() {
      return answered;
    },
    failures,
    async stop() {
      stopped = true;
      await Promise.all(running);
    },
  };
}
