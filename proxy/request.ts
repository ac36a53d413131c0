import type { Headers } from "./headers.ts";

/**
 * A request as routing, balancing and filters see it, whichever protocol carried it. The codec has checked it: `authority` is the one
 * host that the message names, `path` the one normalised target. What is routed is what is forwarded.
 */
export interface RequestHead {
  method: string;
  scheme: "http" | "https";
  /** Host and optional port as sent; `Host` itself is not among the headers. */
  authority: string;
  /** Path and query, starting with "/". Rewritten in place by the router. */
  path: string;
  headers: Headers;
  /** The peer's IP address, without port. */
  remoteAddress: string;
  remotePort: number;
}
