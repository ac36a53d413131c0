import type { TlsSettings } from "../tls.ts";

import type { NacosKeys } from "./signature.ts";

/**
 * How instances are followed. `auto` takes gRPC pushes, and asks over HTTP every few seconds only where a server is older than Nacos 2 and
 * can't push; `grpc` and `http` leave no choice.
 */
export type NacosProtocol = "auto" | "grpc" | "http";

/** How a Nacos is reached and asked. */
export interface NacosSettings {
  /**
   * Servers of one cluster, "http://host:8848" or https, with the context path if it is not "/nacos". The next one is asked when one doesn't
   * answer. At least one.
   */
  readonly addresses: readonly string[];
  /** Namespace id for services that name none; "public" if this is empty too. */
  readonly namespace?: string | undefined;
  /** Group for services that name none; "DEFAULT_GROUP" if this is empty too. */
  readonly group?: string | undefined;
  readonly username?: string | undefined;
  readonly password?: string | undefined;
  /** Requests about services are signed with them, besides or instead of a login. */
  readonly keys?: NacosKeys | undefined;
  /** For HTTP where an address says https, and for gRPC then as well. */
  readonly tls?: TlsSettings | undefined;
  readonly protocol?: NacosProtocol | undefined;
  /** The gRPC port is the HTTP port plus this. Default: 1000. */
  readonly grpcPortOffset?: number | undefined;
}

/** One server of a cluster. */
export interface NacosServer {
  /** Origin and context path, without a slash at the end. */
  readonly http: string;
  /** host:port */
  readonly grpc: string;
  readonly secure: boolean;
}

const DEFAULT_PORT = 8848;
const DEFAULT_CONTEXT_PATH = "/nacos";
const GRPC_PORT_OFFSET = 1_000;

/** Nacos' own name of the namespace that needs no name. */
export const PUBLIC_NAMESPACE = "public";
/** Nacos' own name of the group that needs no name. */
export const DEFAULT_GROUP = "DEFAULT_GROUP";

/** The servers that settings name. @throws {TypeError} for an address that is no URL: whoever takes settings in checks them */
export function serversOf({ addresses, grpcPortOffset = GRPC_PORT_OFFSET }: NacosSettings): readonly NacosServer[] {
  return addresses.map((address) => {
    const url = new URL(address);
    // A URL drops the port that its scheme implies; Nacos' own port is another one, but who writes https means 443.
    const secure = url.protocol === "https:";
    const port = Number(url.port || (secure ? 443 : DEFAULT_PORT));
    const path = url.pathname === "/" ? DEFAULT_CONTEXT_PATH : url.pathname.replace(/\/$/, "");
    return {
      http: `${url.protocol}//${url.hostname}:${port}${path}`,
      grpc: `${url.hostname}:${port + grpcPortOffset}`,
      secure,
    };
  });
}
