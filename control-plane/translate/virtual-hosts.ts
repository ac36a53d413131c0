import { FewNames } from "../model/few-names.ts";
import { digestOf } from "./difference.ts";
import { serviceVirtualHost, sharedVirtualHost } from "./names.ts";
import type { RankedRoute } from "./route.ts";
import type { ServicePart } from "./service.ts";
import { encodeVirtualHost } from "./virtual-host.ts";

/** The host that every service without hosts answers to. */
const EVERY_HOST = "*";

/** What of a service goes into virtual hosts. */
type Part = Pick<ServicePart, "hosts" | "routes">;

/**
 * The virtual hosts of a gateway group. A domain may stand in one virtual host only, so the hosts that a service has
 * for itself are one virtual host, and each host that several services claim is one of its own, with the routes of
 * all of them. A change rebuilds those that the changed services have a part in.
 */
export class VirtualHosts {
  readonly #parts = new Map<string, Part>();
  readonly #claims = new FewNames();
  /** What was handed over last, by name. */
  readonly #digests = new Map<string, string>();
  readonly #staleServices = new Set<string>();
  readonly #staleHosts = new Set<string>();

  /** The newest state of a service; undefined when it is gone. */
  set(service: string, part: Part | undefined): void {
    const before = this.#parts.get(service);
    const hosts = new Set([...(before?.hosts ?? []), ...(part?.hosts ?? [])]);
    const sharedBefore = new Set([...hosts].filter((host) => this.#isShared(host)));
    for (const host of before?.hosts ?? []) this.#claims.delete(host, service);
    for (const host of part?.hosts ?? []) this.#claims.add(host, service);
    if (part === undefined) this.#parts.delete(service);
    else this.#parts.set(service, part);

    this.#staleServices.add(service);
    for (const host of hosts) {
      this.#staleHosts.add(host);
      if (sharedBefore.has(host) === this.#isShared(host)) continue;
      // A host that comes to be shared leaves the virtual host of the service that had it for itself, or goes back
      // there.
      for (const other of this.#claims.of(host)) this.#staleServices.add(other);
    }
  }

  /**
   * Encodes the virtual hosts that the changes since the last call have a part in.
   * @returns those that differ by name, encoded; null for one that is gone
   */
  rebuild(): Map<string, Uint8Array | null> {
    const changed = new Map<string, Uint8Array | null>();
    for (const host of this.#staleHosts) this.#put(sharedVirtualHost(host), this.#encodeShared(host), changed);
    for (const name of this.#staleServices) this.#put(serviceVirtualHost(name), this.#encodeOwn(name), changed);
    this.#staleHosts.clear();
    this.#staleServices.clear();
    return changed;
  }

  #isShared(host: string): boolean {
    const claims = this.#claims.count(host);
    return claims > 1 || (claims === 1 && host === EVERY_HOST);
  }

  #encodeShared(host: string): Uint8Array | undefined {
    if (!this.#isShared(host)) return undefined;
    const routes: RankedRoute[] = [];
    for (const service of this.#claims.of(host)) routes.push(...(this.#parts.get(service)?.routes ?? []));
    return encodeVirtualHost(sharedVirtualHost(host), [host], routes);
  }

  #encodeOwn(service: string): Uint8Array | undefined {
    const part = this.#parts.get(service);
    const hosts = part?.hosts.filter((host) => !this.#isShared(host)) ?? [];
    if (part === undefined || hosts.length === 0) return undefined;
    return encodeVirtualHost(serviceVirtualHost(service), hosts, part.routes);
  }

  #put(name: string, bytes: Uint8Array | undefined, changed: Map<string, Uint8Array | null>): void {
    if (bytes === undefined) {
      if (this.#digests.delete(name)) changed.set(name, null);
      return;
    }
    const digest = digestOf(bytes);
    if (this.#digests.get(name) === digest) return;
    this.#digests.set(name, digest);
    changed.set(name, bytes);
  }
}
