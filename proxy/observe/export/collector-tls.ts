import type { Socket } from "node:net";

import type { ChannelCredentials } from "@grpc/grpc-js";

import type { Endpoint } from "../../cluster/cluster.ts";
import { TIMEOUT_MS_MAX } from "../../listen/timers.ts";
import { Dial } from "../../upstream/dial.ts";
import { openSocket } from "../../upstream/open-socket.ts";
import { hostOf } from "../../upstream/pools.ts";
import type { ClientTls } from "../../upstream/tls.ts";

/** How to speak to an endpoint of a cluster with TLS. */
export interface SecureEndpoint {
  readonly endpoint: Endpoint;
  /** What its collector is called: the server name that is asked for, if the cluster has auto_sni. */
  readonly authority: string;
  readonly connectTimeoutMs: number;
  /** The cluster's TLS with its secrets of now; asked for by each connection. */
  readonly tls: () => ClientTls;
}

/** Connects, or shakes hands over a connection that is there; rejects with the reason in Envoy's words unless the endpoint is who it should be. */
export function openSecure(to: SecureEndpoint, alpn: string, over?: Socket): Promise<Socket> {
  const { endpoint, authority, connectTimeoutMs, tls } = to;
  const now = tls();
  const serverName = now.settings.autoSni ? hostOf(authority) : "";
  const options = { endpoint, tls: now, serverName, alpn: [alpn], keepaliveMs: undefined };
  return new Promise((resolve, reject) => {
    if (over === undefined) {
      const onDialFailed = (reason: string, failure: string) => reject(new Error(failure || reason));
      return void new Dial(
        { ...options, connectTimeoutMs },
        {
          // Who gets it listens for errors, but a little later.
          onDialled: (socket) => resolve(socket.on("error", () => {})),
          onDialFailed,
        },
      );
    }
    const socket = openSocket({ ...options, over }, endpoint.address, () => {
      clearTimeout(late);
      resolve(socket);
    });
    const late = setTimeout(
      () => socket.destroy(new Error("connect_timeout")),
      Math.min(TIMEOUT_MS_MAX, connectTimeoutMs),
    );
    socket.once("error", reject);
    socket.once("close", () => {
      clearTimeout(late);
      reject(new Error("the connection was closed before it was secured"));
    });
  });
}

/** Credentials of a gRPC channel whose connections are secured like all others to their cluster. */
export async function clusterCredentials(to: SecureEndpoint): Promise<ChannelCredentials> {
  const { CallCredentials, ChannelCredentials: Base } = await import("@grpc/grpc-js");
  class ClusterCredentials extends Base {
    override _isSecure() {
      return true;
    }

    override _equals(other: ChannelCredentials): boolean {
      return this === other;
    }

    override _createSecureConnector(
      ...[, , callCredentials]: Parameters<ChannelCredentials["_createSecureConnector"]>
    ) {
      return {
        connect: async (socket: Socket) => ({ socket: await openSecure(to, "h2", socket), secure: true }),
        waitForReady: () => Promise.resolve(),
        getCallCredentials: () => callCredentials ?? CallCredentials.createEmpty(),
        destroy: () => {},
      };
    }
  }
  return new ClusterCredentials();
}
