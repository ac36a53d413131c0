import type { Node } from "#envoy/config/core/v3/base_pb.ts";

import type { WantedResource } from "./wanted-resources.ts";

/** One discovery stream, as reports on clients see it. */
export interface ConnectedClient {
  /** Without its list of extensions; see `shownNode`. */
  readonly node: Node;
  readonly gatewayGroup: string;
  /** Every resource that the stream's client wants, in the order of pushes. */
  wanted(): Iterable<WantedResource>;
}

/** The streams that have said who they are. */
export class ConnectedClients {
  readonly #clients = new Set<ConnectedClient>();

  /** Returns what takes it out again. */
  add(client: ConnectedClient): () => void {
    this.#clients.add(client);
    return () => this.#clients.delete(client);
  }

  /** In the order in which they came. */
  list(): ConnectedClient[] {
    return [...this.#clients];
  }
}
