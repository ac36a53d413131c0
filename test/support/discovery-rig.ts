import { rm, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { type Client, createClient } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";

import { DiscoveryService, type WatchedService, type WatchState } from "#sluice/admin/v1/discovery_service_pb.ts";
import { LeaseService } from "#sluice/discovery/v1/lease_service_pb.ts";

import { authorized } from "./control-plane.ts";
import { ControlPlane, startProxy, temporaryDir } from "./gateway.ts";
import { ask } from "./http.ts";
import { freePort } from "./ports.ts";
import { type Echo, startUpstream, type Upstream } from "./upstream.ts";
import { waitFor } from "./wait.ts";

interface RigOptions {
  /** Of `sluice control-plane`. */
  readonly controlArgs?: string[];
  /** Environment of the same. */
  readonly controlEnv?: Record<string, string>;
  /** The gateway group of the proxy, and of the listener that apply() writes. */
  readonly group?: string;
}

/** How the control plane is started, and started again. */
interface ProgramOptions {
  readonly args: string[];
  readonly env: Record<string, string>;
}

/** A control plane and a native proxy, both programs of their own, for tests of discovery. */
export class DiscoveryRig implements AsyncDisposable {
  readonly dir: string;
  readonly port: number;
  control: ControlPlane;
  readonly #cleanups: (() => Promise<unknown>)[];
  readonly #upstreams = new Map<string, Upstream>();
  readonly #program: ProgramOptions;
  readonly #group: string;

  private constructor(
    dir: string,
    port: number,
    control: ControlPlane,
    cleanups: (() => Promise<unknown>)[],
    program: ProgramOptions,
    group: string,
  ) {
    this.dir = dir;
    this.port = port;
    this.control = control;
    this.#cleanups = cleanups;
    this.#program = program;
    this.#group = group;
  }

  /** @param group of the proxy */
  static async start({ controlArgs = [], controlEnv = {}, group = "default" }: RigOptions = {}): Promise<DiscoveryRig> {
    const dir = await temporaryDir();
    const program = { args: controlArgs, env: controlEnv };
    const control = await ControlPlane.start(join(dir.path, "data"), program);
    const cleanups: (() => Promise<unknown>)[] = [() => dir.remove()];
    const rig = new DiscoveryRig(dir.path, await freePort(), control, cleanups, program, group);
    try {
      // A proxy is ready once its group exists.
      await rig.apply("");
      const proxy = await startProxy(control.xdsPort, { group });
      cleanups.push(() => proxy.program.stop("SIGKILL"));
      return rig;
    } catch (error) {
      await rig[Symbol.asyncDispose]();
      throw error;
    }
  }

  /** Applies a gateway file: the listener, and what the test adds. */
  async apply(text: string): Promise<void> {
    const file = join(this.dir, "gateway.yaml");
    const listener = `{ name: http, protocol: http, address: 127.0.0.1, port: ${this.port} }`;
    await writeFile(file, `gatewayGroups: [{ name: ${this.#group}, listeners: [${listener}] }]\n${text}`);
    const { code, stderr } = await this.control.sluice("apply", "--timeout", "120s", "-f", file);
    if (code !== 0) throw new Error(stderr);
  }

  /** Ends the control plane at once (kill -9). */
  async kill(): Promise<void> {
    await this.control.program.stop("SIGKILL");
  }

  /** Starts the control plane again, on the same ports, and on the same data unless that is to be lost. */
  async restart({ emptyData = false } = {}): Promise<void> {
    const { data, adminPort, xdsPort } = this.control;
    if (emptyData) await rm(data, { recursive: true });
    this.control = await ControlPlane.start(data, { adminPort, xdsPort, ...this.#program });
  }

  /** A back end by its name. */
  async upstream(name: string): Promise<Upstream> {
    const upstream = this.#upstreams.get(name) ?? (await startUpstream(name));
    this.#upstreams.set(name, upstream);
    return upstream;
  }

  /** The service of leases, as programs call it. */
  async leases(): Promise<Client<typeof LeaseService>> {
    return createClient(LeaseService, await this.#transport());
  }

  /** What operators see of the services that are watched. */
  async discovery(): Promise<Client<typeof DiscoveryService>> {
    return createClient(DiscoveryService, await this.#transport());
  }

  /** Waits until a service is in this state, with so many endpoints if they matter: a replica that follows learns of both a moment after the data planes. */
  async state(service: string, state: WatchState, gatewayGroup = "", endpointCount?: number): Promise<WatchedService> {
    const client = await this.discovery();
    return await waitFor(`${service} to be in state ${state}`, async () => {
      const { services } = await client.listWatchedServices({ gatewayGroup, service, endpoints: true });
      const [found] = services;
      if (found?.state === state && found.endpointCount === (endpointCount ?? found.endpointCount)) return found;
      const words = `${found?.endpointCount} endpoints: ${found?.problem?.message}`;
      throw new Error(`it is in state ${found?.state} with ${words}`);
    });
  }

  /** Which back ends answer some requests in a row, each with its share: "one=6,two=6"; or the status, if it isn't 200. */
  async shares(path = "/", requests = 12): Promise<Map<string, number>> {
    const shares = new Map<string, number>();
    for (let at = 0; at < requests; at++) {
      const { status, body } = await ask(this.port, { path, headers: { host: "a.test" } });
      const name = status === 200 ? (JSON.parse(body) as Echo).upstream : String(status);
      shares.set(name, (shares.get(name) ?? 0) + 1);
    }
    return shares;
  }

  /** Waits until just these back ends answer: "one,two"; "503" if none does. */
  async answers(names: string, path = "/"): Promise<void> {
    await waitFor(`${names} to answer`, async () => {
      const seen = [...(await this.shares(path)).keys()].sort().join();
      if (seen === names) return true;
      throw new Error(`${seen} answer`);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const upstream of this.#upstreams.values()) await upstream.close();
    await this.control.program.stop("SIGKILL");
    for (const cleanup of this.#cleanups.toReversed()) await cleanup();
  }

  async #transport() {
    return createConnectTransport({
      baseUrl: `http://127.0.0.1:${this.control.adminPort}`,
      httpVersion: "1.1",
      interceptors: [authorized(await this.control.token())],
    });
  }
}
