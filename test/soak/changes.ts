/** The writes of the soak: services come, go and change, in one group after the other, and what has traffic goes on to answer. */
import type { ControlPlane } from "../support/gateway.ts";
import type { Random } from "./random.ts";

/** The host that has traffic in every group. */
export const HOST = "a.test";

const SERVICES_MAX = 30;

/** A gateway group of the soak. */
export interface SoakGroup {
  readonly name: string;
  /** Where its one data plane listens. */
  readonly port: number;
  /** Of a second listener that comes and goes. */
  readonly otherPort: number;
}

interface State {
  readonly services: Set<number>;
  hasOther: boolean;
}

/** Makes random changes by the admin API. */
export class Changes {
  /** Writes that were accepted. */
  made = 0;
  readonly #random: Random;
  readonly #upstreams: readonly number[];
  readonly #groups: readonly SoakGroup[];
  readonly #states = new Map<string, State>();

  /** @param upstreams ports of back ends that echo */
  constructor(random: Random, groups: readonly SoakGroup[], upstreams: readonly number[]) {
    this.#random = random;
    this.#groups = groups;
    this.#upstreams = upstreams;
  }

  /** Writes the groups and the service with traffic. */
  async begin(plane: ControlPlane): Promise<void> {
    for (const group of this.#groups) {
      this.#states.set(group.name, { services: new Set(), hasOther: false });
      await plane.call("GatewayGroupService/CreateGatewayGroup", { gatewayGroup: this.#gatewayGroup(group, false) });
      await plane.call("ServiceService/CreateService", { service: this.#echo(group) });
    }
  }

  /** Makes one change. */
  async next(plane: ControlPlane): Promise<void> {
    const group = this.#random.pick(this.#groups);
    const state = this.#states.get(group.name);
    if (state === undefined) throw new Error("begin() comes first");
    const at = this.#random.between(0, SERVICES_MAX - 1);
    const kind = this.#random.next();
    if (kind < 0.1) {
      await plane.call("GatewayGroupService/UpdateGatewayGroup", {
        gatewayGroup: this.#gatewayGroup(group, !state.hasOther),
      });
      state.hasOther = !state.hasOther;
    } else if (kind < 0.4) {
      await plane.call("ServiceService/UpdateService", { service: this.#echo(group) });
    } else if (!state.services.has(at)) {
      await plane.call("ServiceService/CreateService", { service: this.#service(group, at) });
      state.services.add(at);
    } else if (kind < 0.6) {
      await plane.call("ServiceService/DeleteService", { gatewayGroup: group.name, name: `s${at}` });
      state.services.delete(at);
    } else {
      await plane.call("ServiceService/UpdateService", { service: this.#service(group, at) });
    }
    this.made++;
  }

  #gatewayGroup({ name, port, otherPort }: SoakGroup, hasOther: boolean) {
    const listener = (listenerName: string, at: number) => ({ name: listenerName, address: "127.0.0.1", port: at });
    const listeners = [listener("http", port), ...(hasOther ? [listener("other", otherPort)] : [])];
    return { name, accessLog: { disabled: true }, listeners };
  }

  /** The service with traffic: whichever routes, cluster and endpoints it has, it answers. */
  #echo({ name: gatewayGroup }: SoakGroup) {
    const random = this.#random;
    const nodes = this.#upstreams.filter(() => random.chance(0.5));
    // Another name is another cluster: the routes move to it, and the one before goes.
    const upstream = random.pick(["default", "blue", "green"]);
    const ports = nodes.length > 0 ? nodes : this.#upstreams;
    const weight = random.between(1, 4);
    return {
      ...{ name: "echo", gatewayGroup, hosts: [HOST] },
      upstreams: [{ name: upstream, nodes: ports.map((port) => ({ host: "127.0.0.1", port, weight })) }],
      routes: [
        { name: "all", paths: ["/*"], upstream },
        ...Array.from({ length: random.between(0, 5) }, (_, at) => ({
          ...{ name: `extra${at}`, paths: [`/extra/${random.between(0, 99)}-${at}/*`], upstream },
        })),
      ],
    };
  }

  #service({ name: gatewayGroup }: SoakGroup, at: number) {
    const random = this.#random;
    const nodes = Array.from({ length: random.between(1, 5) }, () => ({
      ...{ host: `127.0.0.${random.between(2, 250)}`, port: random.between(1_024, 60_000) },
    }));
    return {
      ...{ name: `s${at}`, gatewayGroup, hosts: [`s${at}.test`] },
      upstreams: [{ name: "default", nodes, timeouts: { connect: `${random.between(1, 5)}s` } }],
      routes: [{ name: "all", paths: [`/${random.between(0, 9)}/*`] }],
    };
  }
}
