import { create } from "@bufbuild/protobuf";
import { pino } from "pino";

import { NodeSchema } from "#envoy/config/core/v3/base_pb.ts";

import { supportedFields } from "../../proxy/supported-fields.ts";
import { validateResource } from "../../proxy/parts.ts";
import { Configuration } from "../../proxy/xds/configuration.ts";
import { runAdsClient } from "../../proxy/xds/stream.ts";

/** The native proxy's xDS client without the proxy: everything from the stream to the configuration that workers would get. */
export class NativeClient {
  readonly group: string;
  readonly id: string;
  readonly #configuration: Configuration;
  readonly #stopped = new AbortController();
  readonly #running: Promise<void>;

  /** @param listening addresses that data planes of the same machine listen on: they are not tried */
  constructor(
    who: { readonly group: string; readonly id: string },
    server: string,
    listening: ReadonlySet<string> = new Set(),
  ) {
    this.group = who.group;
    this.id = who.id;
    this.#configuration = new Configuration({
      decoder: { fields: supportedFields, validate: validateResource },
      apply: () => undefined,
      log: pino({ level: "silent" }),
      ours: listening,
    });
    const node = create(NodeSchema, { id: who.id, cluster: who.group, userAgentName: "sluice-proxy" });
    this.#running = runAdsClient({ server, node, signal: this.#stopped.signal }, this.#configuration);
  }

  /** Whether it has all that it needs to serve. */
  get live(): boolean {
    return this.#configuration.live;
  }

  /** What it holds, as "type name" -> version. */
  held(): ReadonlyMap<string, string> {
    return new Map(
      Array.from(this.#configuration.stored(), ({ typeUrl, name, version }) => [`${typeUrl} ${name}`, version]),
    );
  }

  async stop(): Promise<void> {
    this.#stopped.abort();
    await this.#running;
    this.#configuration.close();
  }
}
