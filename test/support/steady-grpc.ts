import { setTimeout as sleep } from "node:timers/promises";

import { Client, credentials, status } from "@grpc/grpc-js";

import { callEcho } from "./grpc-echo.ts";
import { SteadyClients, type SteadyLoad } from "./steady-clients.ts";

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
  const load = new SteadyClients();
  const client = async (which: number) => {
    const channel = new Client(`127.0.0.1:${port}`, credentials.createSsl(Buffer.from(ca)), {
      "grpc.default_authority": host,
      "grpc.ssl_target_name_override": host,
      "grpc.use_local_subchannel_pool": 1,
    });
    for (let n = 0; !load.stopped; n++) {
      const message = `${which}-${n}`;
      const { value, code, details } = await callEcho(channel, message, DEADLINE_MS);
      if (code === status.OK && value === `${message}!`) load.answered++;
      else load.fail(`gRPC ${message}: ${code} ${details} ${value ?? ""}`);
      if (pauseMs > 0) await sleep(pauseMs);
    }
    channel.close();
  };
  return load.run(clients, client);
}
