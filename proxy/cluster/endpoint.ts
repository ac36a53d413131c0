import type { AssignedEndpoint } from "./assignment.ts";
import type { Endpoint } from "./cluster.ts";
import { NO_LABELS } from "./endpoint-metadata.ts";

/** An endpoint of a cluster in this worker. */
export class LiveEndpoint implements Endpoint {
  readonly address: string;
  readonly port: number;
  readonly key: string;
  hostname = "";
  additionalAddresses: readonly string[] = [];
  labels: Endpoint["labels"] = [NO_LABELS, NO_LABELS];
  hashKey: string;
  canary = false;
  weight = 1;
  priority = 0;
  health: AssignedEndpoint["health"] = "healthy";
  alive = true;
  activeRequests = 0;
  pool: unknown = undefined;

  constructor(address: string, port: number) {
    this.address = address;
    this.port = port;
    this.key = endpointKey({ address, port });
    this.hashKey = this.key;
  }

  get healthy(): boolean {
    return this.health !== "unhealthy";
  }
}

/** "address:port", IPv6 in brackets: what tells endpoints of a cluster apart. */
export const endpointKey = ({ address, port }: { readonly address: string; readonly port: number }): string =>
  address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
