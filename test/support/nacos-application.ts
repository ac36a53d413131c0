import { NacosConnection } from "../../discovery/nacos/connection.ts";
import type { NacosServiceInfo } from "../../discovery/nacos/convert.ts";
import { NacosHttp } from "../../discovery/nacos/http.ts";
import { NacosLogin } from "../../discovery/nacos/login.ts";
import type { NacosMessage } from "../../discovery/nacos/payload.ts";
import { serversOf } from "../../discovery/nacos/settings.ts";
import type { TlsSettings } from "../../discovery/tls.ts";

import type { Nacos } from "./nacos.ts";
import { waitFor } from "./wait.ts";

/** A server that is stopped for a test, or a machine that stands still, is no reason for an application to go. */
const PATIENCE_MS = 120_000;

/** What an instance is, beside its address. */
interface InstanceFields {
  readonly port?: number;
  readonly weight?: number;
  readonly healthy?: boolean;
  readonly enabled?: boolean;
  readonly clusterName?: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

/** A program that registers instances of itself, which live as long as its connection. */
export class NacosApplication {
  readonly #http: NacosHttp;
  readonly #connection: NacosConnection;

  private constructor(http: NacosHttp, connection: NacosConnection) {
    this.#http = http;
    this.#connection = connection;
  }

  /** @param pushed hears what the server pushes of services that are subscribed to */
  static async start(
    nacos: Nacos,
    tls: TlsSettings = {},
    pushed: (info: NacosServiceInfo) => void = () => {},
  ): Promise<NacosApplication> {
    const settings = { addresses: [nacos.url], username: nacos.username, password: nacos.password, tls };
    const http = new NacosHttp(settings);
    const login = new NacosLogin(http, settings.username, settings.password);
    const [server] = serversOf(settings);
    if (server === undefined) throw new Error("no server");
    const headers = async () => ({ accessToken: await login.token() });
    const tell = ({ body }: NacosMessage) => pushed((body as { serviceInfo?: NacosServiceInfo }).serviceInfo ?? {});
    const options = { server, tls, namespace: "public", headers, pushed: tell, patienceMs: PATIENCE_MS };
    return new NacosApplication(http, await NacosConnection.open(options, AbortSignal.timeout(PATIENCE_MS)));
  }

  /** Registers an instance, or changes it. Nacos takes one of each service from a connection. */
  async register(serviceName: string, ip: string, more: InstanceFields = {}): Promise<void> {
    await this.#send("registerInstance", serviceName, ip, more);
  }

  async deregister(serviceName: string, ip: string, more: InstanceFields = {}): Promise<void> {
    await this.#send("deregisterInstance", serviceName, ip, more);
  }

  async subscribe(serviceName: string): Promise<void> {
    const body = { namespace: "public", groupName: "DEFAULT_GROUP", serviceName, clusters: "", subscribe: true };
    await this.#connection.request("SubscribeServiceRequest", { ...body, module: "naming" });
  }

  async close(): Promise<void> {
    this.#connection.close();
    await this.#http.close();
  }

  async #send(type: string, serviceName: string, ip: string, more: InstanceFields): Promise<void> {
    // A token of a few seconds may end on the way to a server that is slow.
    await waitFor(`${type} of ${serviceName}`, async () => {
      await this.#connection.request("InstanceRequest", {
        ...{ namespace: "public", groupName: "DEFAULT_GROUP", serviceName, type, module: "naming" },
        instance: { ip, port: 8080, weight: 1, healthy: true, enabled: true, ephemeral: true, metadata: {}, ...more },
      });
      return true;
    });
  }
}
