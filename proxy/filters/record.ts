import type { Socket } from "node:net";
import { TLSSocket } from "node:tls";

import { flat, Headers, lineOf } from "../headers.ts";
import { wallMs } from "../listen/clock.ts";
import type { RequestRecord } from "../observe/access-log.ts";
import type { RequestHead } from "../request.ts";
import { PeerTls } from "./peer-tls.ts";

/** The addresses of a connection, as the record names them. */
export interface Peer {
  readonly downstreamLocalAddress: string;
  readonly downstreamRemoteAddress: string;
  readonly downstreamRemotePort: number;
  /** Undefined: the connection is not encrypted. */
  readonly tls?: PeerTls | undefined;
  /** "address:port" of the remote end, as {@link remoteOf} made it once. */
  remote?: string | undefined;
  /** The fields that tell its address to the upstream, as {@link addressLines} made them once. */
  lines?: AddressLines | undefined;
}

/** Fields about a connection's remote address, as lines of HTTP/1. */
export interface AddressLines {
  readonly forwardedFor: string;
  readonly externalAddress: string;
}

/** The fields about a connection's remote address; most connections have many requests. */
export function addressLines(peer: Peer): AddressLines {
  const address = peer.downstreamRemoteAddress;
  return (peer.lines ??= {
    forwardedFor: lineOf("x-forwarded-for", address),
    externalAddress: lineOf("x-envoy-external-address", address),
  });
}

/** "address:port" of a connection's remote end. */
export function remoteOf(peer: Peer): string {
  return (peer.remote ??= flat(addressWithPort(peer.downstreamRemoteAddress, peer.downstreamRemotePort)));
}

/** "address:port", with brackets around an IPv6 address. */
export const addressWithPort = (address: string, port: number): string =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;

/** A dual-stack socket shows IPv4 addresses as IPv6. */
const unmapped = (address: string): string => (address.startsWith("::ffff:") ? address.slice(7) : address);

/** The addresses of a connected socket. */
export function peerOf(socket: Socket): Peer {
  return {
    downstreamLocalAddress: addressWithPort(unmapped(socket.localAddress ?? ""), socket.localPort ?? 0),
    downstreamRemoteAddress: unmapped(socket.remoteAddress ?? ""),
    downstreamRemotePort: socket.remotePort ?? 0,
    ...(socket instanceof TLSSocket && { tls: new PeerTls(socket) }),
  };
}

const NO_FLAGS: readonly string[] = [];

/** A RequestRecord at the start of its request. A class, so that every record has the same shape. */
export class StreamRecord implements RequestRecord {
  startMs: number;
  startedAt: number;
  requestEndAt = -1;
  responseHeadAt = -1;
  responseStartAt = -1;
  endAt = -1;
  protocol: RequestRecord["protocol"] = undefined;
  head: RequestHead | undefined = undefined;
  originalPath = "";
  status = 0;
  responseHeaders: RequestRecord["responseHeaders"] = undefined;
  responseTrailers: RequestRecord["responseTrailers"] = undefined;
  localReplyBody: string | undefined = undefined;
  dynamicMetadata: RequestRecord["dynamicMetadata"] = undefined;
  trace: RequestRecord["trace"] = undefined;
  details = "";
  flags: readonly string[] = NO_FLAGS;
  bytesReceived = 0;
  bytesSent = 0;
  upstreamHost: string | undefined = undefined;
  upstreamLocalAddress: string | undefined = undefined;
  upstreamCluster: string | undefined = undefined;
  upstreamClusterRaw: string | undefined = undefined;
  upstreamTransportFailure: string | undefined = undefined;
  attempts = 0;
  routeName: string | undefined = undefined;
  virtualHost: string | undefined = undefined;
  requestId: string | undefined = undefined;
  downstreamLocalAddress: string;
  downstreamRemoteAddress: string;
  downstreamRemotePort: number;

  /** Whoever is at the other end of the connection; the client, unless a proxy that we believe named another. */
  readonly peer: Peer;

  constructor(peer: Peer, startedAt: number) {
    this.startedAt = startedAt;
    this.startMs = Math.floor(wallMs(startedAt));
    this.peer = peer;
    this.downstreamLocalAddress = peer.downstreamLocalAddress;
    this.downstreamRemoteAddress = peer.downstreamRemoteAddress;
    this.downstreamRemotePort = peer.downstreamRemotePort;
  }
}

/** Stands in until there is a head; nothing adds to it. */
const NO_HEADERS = new Headers();

/** The head of a request that has not come yet. */
export const emptyHead = (peer: Peer, scheme: "http" | "https"): RequestHead => ({
  method: "",
  scheme,
  authority: "",
  path: "",
  headers: NO_HEADERS,
  remoteAddress: peer.downstreamRemoteAddress,
  remotePort: peer.downstreamRemotePort,
});
