import { create } from "@bufbuild/protobuf";
import type { Logger } from "pino";

import { type Node, NodeSchema } from "#envoy/config/core/v3/base_pb.ts";

import { VIRTUAL_HOSTS_BY_WILDCARD } from "#proto/client-features.ts";

import { isLoopback } from "./admin/server.ts";
import type { ControlPlaneAccess } from "./observe/export/control-plane.ts";
import type { ProxyOptions } from "./options.ts";
import { StartError } from "./options.ts";
import type { Configuration } from "./xds/configuration.ts";
import { type LoadReportsOptions, runLoadReports } from "./xds/load-reports.ts";
import { type Loaded, loadSnapshot } from "./xds/snapshot.ts";
import type { XdsSecurity } from "./xds/security.ts";
import { runAdsClient } from "./xds/stream.ts";

/** How long a control plane may take to answer before the proxy starts from what it kept on disk. */
const ANSWER_MS_MAX = 1_000;

/** Where a proxy gets its configuration from: the control plane, or the disk when none answers. */
export class ControlPlaneLink {
  readonly #options: ProxyOptions;
  readonly #configuration: Configuration;
  readonly #log: Pick<Logger, "info" | "warn" | "error">;
  readonly #loads: LoadReportsOptions["loads"];
  readonly #stop = new AbortController();
  #running: Promise<void> = Promise.resolve();
  #reporting: Promise<void> = Promise.resolve();
  #access: ControlPlaneAccess | undefined;

  /** @param loads of the clusters that say `lrs_server` */
  constructor(
    options: ProxyOptions,
    configuration: Configuration,
    log: Pick<Logger, "info" | "warn" | "error">,
    loads: LoadReportsOptions["loads"],
  ) {
    this.#options = options;
    this.#configuration = configuration;
    this.#log = log;
    this.#loads = loads;
  }

  /** Where the control plane is; undefined: there is none, or it is not known yet. It is before there is a configuration. */
  get access(): ControlPlaneAccess | undefined {
    return this.#access;
  }

  /**
   * Starts; resolves when a control plane has answered or the configuration on disk is in use, and also when there is neither and the
   * proxy waits for a control plane. From then on it keeps the stream by itself. `snapshotFile`: undefined if none is kept.
   * Throws StartError if there is nowhere that a configuration could come from.
   */
  async start(snapshotFile: string | undefined): Promise<void> {
    const snapshot: Loaded =
      snapshotFile === undefined ? { kind: "absent" } : await loadSnapshot(snapshotFile, this.#options.gatewayGroup);
    const xdsAddress = await this.#options.xdsAddress;
    if (snapshot.kind === "unusable") this.#log.error(snapshot.reason);
    if (xdsAddress === undefined) {
      if (snapshot.kind === "unusable") throw new StartError(`${snapshot.reason}, and no control plane is given`);
      if (snapshot.kind === "absent") throw new StartError("no control plane is given, and none was known before");
      await this.#restore(snapshot);
      return;
    }
    const { xdsSecurity: security = {} } = this.#options;
    this.#access = { server: xdsAddress, security };
    if (showsToken(security, xdsAddress)) {
      this.#log.warn(
        { server: xdsAddress },
        "the join token crosses the network as plain text, and whoever reads it can join; --xds-ca or --xds-tls keeps it",
      );
    }
    const [node, { signal }] = [nodeOf(this.#options), this.#stop];
    this.#reporting = runLoadReports({ server: xdsAddress, node, signal, security, loads: this.#loads });
    const first = new AbortController();
    const answered = this.#answered();
    this.#run(xdsAddress, AbortSignal.any([first.signal, this.#stop.signal]));
    if (await answered) return;
    if (snapshot.kind !== "loaded") {
      this.#log.warn(
        { server: xdsAddress },
        "no answer from the control plane yet; there is nothing to serve until then",
      );
      return;
    }
    // The stream under way, if any, was opened without versions, and would never hear of what was removed since.
    first.abort();
    await this.#running;
    if (!this.#configuration.answered) await this.#restore(snapshot);
    this.#run(xdsAddress, this.#stop.signal);
  }

  /** Ends the stream. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all([this.#running, this.#reporting]);
  }

  async #restore(snapshot: Extract<Loaded, { kind: "loaded" }>): Promise<void> {
    await this.#configuration.restore(snapshot.resources);
    this.#log.warn("started from the last good configuration on disk, since no control plane answered");
  }

  #run(server: string, signal: AbortSignal): void {
    const security = this.#options.xdsSecurity;
    this.#running = runAdsClient({ server, node: nodeOf(this.#options), signal, security }, this.#configuration);
  }

  /** True once a control plane has answered, false if it does not in time. */
  async #answered(): Promise<boolean> {
    const { promise, resolve } = Promise.withResolvers<void>();
    const timer = setTimeout(resolve, ANSWER_MS_MAX);
    this.#configuration.onChange(() => this.#configuration.answered && resolve());
    await promise;
    clearTimeout(timer);
    return this.#configuration.answered;
  }
}

/** What the proxy says of itself. Of Envoy's client_features it claims none here: those are for heartbeats and wrapped SotW resources. */
function nodeOf({ nodeId, gatewayGroup, version }: ProxyOptions): Node {
  return create(NodeSchema, {
    id: nodeId,
    cluster: gatewayGroup,
    userAgentName: "sluice-proxy",
    clientFeatures: [VIRTUAL_HOSTS_BY_WILDCARD],
    userAgentVersionType: { case: "userAgentVersion", value: version },
  });
}

/** Whether others can read the token on its way to the control plane ("host:port"). */
const showsToken = ({ tls, token, tokenFile }: XdsSecurity, address: string): boolean =>
  tls === undefined &&
  (token ?? tokenFile) !== undefined &&
  !isLoopback(address.slice(0, address.lastIndexOf(":")).replace(/^\[|\]$/g, ""));
