import type { Service } from "#sluice/model/v1/service_pb.ts";

import { normalHost } from "./hosts.ts";

/** The host of services that name none. */
export const EVERY_HOST = "*";

/** What a service answers to, in lower case. */
export const hostsOf = ({ hosts }: Service): readonly string[] =>
  hosts.length === 0 ? [EVERY_HOST] : hosts.map(normalHost);

/** Services of one gateway group by the hosts that they answer to, so that who shares a host with one is found without a look at all. */
export class ServicesByHost {
  readonly #byHost = new Map<string, Map<string, Service>>();

  /** The services that name this host, in lower case; "*" for those that name none or "*" itself. */
  on(host: string): Iterable<Service> {
    return this.#byHost.get(host)?.values() ?? [];
  }

  /** Puts a service in; one of its name must have been taken out before. */
  add(service: Service): void {
    for (const host of hostsOf(service)) {
      const services = this.#byHost.get(host);
      if (services === undefined) this.#byHost.set(host, new Map([[service.name, service]]));
      else services.set(service.name, service);
    }
  }

  /** Takes a service out, as it was put in. */
  delete(service: Service): void {
    for (const host of hostsOf(service)) {
      const services = this.#byHost.get(host);
      services?.delete(service.name);
      if (services?.size === 0) this.#byHost.delete(host);
    }
  }
}
