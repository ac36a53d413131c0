import type { Client, Metadata } from "@grpc/grpc-js";

import type { XdsSecurity } from "../../xds/security.ts";

/** Where the proxy's control plane is, and how it lets the proxy in. */
export interface ControlPlaneAccess {
  /** "host:port". */
  readonly server: string;
  readonly security: XdsSecurity;
}

/** A gRPC channel, and what its calls say beside their messages. */
export interface Channel {
  readonly client: Client;
  readonly metadata: Metadata;
}

/**
 * A channel to the control plane, on a connection of its own. The files of TLS and of the join token are read anew for each.
 * @throws Error if one of them can't be read or holds something else
 */
export async function controlPlaneChannel({ server, security }: ControlPlaneAccess): Promise<Channel> {
  const [{ Client: GrpcClient }, { joinCredentials }] = await Promise.all([
    import("@grpc/grpc-js"),
    import("../../xds/security.ts"),
  ]);
  const { channel, metadata } = joinCredentials(security);
  const options = {
    "grpc.enable_retries": 0,
    "grpc.use_local_subchannel_pool": 1,
    // As for the discovery stream (rule T8): one that is half open would take entries for a quarter of an hour.
    "grpc.keepalive_time_ms": 30_000,
    "grpc.keepalive_timeout_ms": 10_000,
  };
  return { client: new GrpcClient(server, channel, options), metadata };
}
