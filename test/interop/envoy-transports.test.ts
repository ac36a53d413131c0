/**
 * An Envoy that takes its configuration in other ways than `sluice bootstrap envoy` says: state of the world, separate services instead of
 * ADS, a client certificate instead of a token. Each way follows changes under load without a failed request, and a control plane that is
 * killed and comes back.
 */
import { readFile, writeFile } from "node:fs/promises";
import { request } from "node:https";
import type { TLSSocket } from "node:tls";

import { afterEach, expect, test } from "vitest";
import { parse, stringify } from "yaml";

import { TestAuthority } from "../support/certificates.ts";
import { ControlPlane, startEnvoy } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { startSecurePlane } from "../support/secure-plane.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { envoy } from "../support/tools.ts";
import { type Echo, startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

/** What the tests look at in Envoy's bootstrap. */
interface Bootstrap {
  dynamic_resources: {
    ads_config: { api_type: string; grpc_services: unknown };
    cds_config: object;
    lds_config: object;
  };
  static_resources: { clusters: object[]; listeners?: object[] };
}

const START_MS_MAX = 180_000;

let cleanup = new AsyncDisposableStack();
afterEach(async () => {
  await cleanup.disposeAsync();
  cleanup = new AsyncDisposableStack();
});

test("state of the world on ADS", async () => {
  const secure = await startSecurePlane(cleanup);
  await followsChanges(secure, [secure.port], (bootstrap) => {
    bootstrap.dynamic_resources.ads_config.api_type = "GRPC";
  });
});

test.each(["GRPC", "DELTA_GRPC"])("separate services: CDS, LDS, RDS and EDS by %s", async (apiType) => {
  const secure = await startSecurePlane(cleanup);
  const [byRds, byEds] = [await freePort(), await freePort()];
  await followsChanges(secure, [secure.port, byRds, byEds], (bootstrap) => {
    const { dynamic_resources: dynamic, static_resources: fixed } = bootstrap;
    const source = {
      resource_api_version: "V3",
      api_config_source: {
        ...{ api_type: apiType, transport_api_version: "V3", set_node_on_first_message_only: true },
        grpc_services: dynamic.ads_config.grpc_services,
      },
    };
    // What comes by CDS and LDS names ADS for its endpoints and routes; a listener and a cluster of Envoy's own name the services.
    dynamic.cds_config = source;
    dynamic.lds_config = source;
    const own = { name: "own", virtual_hosts: [{ name: "own", domains: ["*"], routes: [toCluster("own")] }] };
    fixed.listeners = [
      httpListener("by-rds", byRds, { rds: { route_config_name: "default", config_source: source } }),
      httpListener("by-eds", byEds, { route_config: own }),
    ];
    const edsConfig = { service_name: "only/default", eds_config: source };
    fixed.clusters.push({ name: "own", type: "EDS", connect_timeout: "60s", eds_cluster_config: edsConfig });
  });
});

test("a client certificate joins, and secrets come by SDS", async () => {
  const secure = await startSecurePlane(cleanup, { clientCertificates: true });
  using authority = new TestAuthority();
  const { plane, file } = secure;
  const issue = async (serial: string) => {
    const { cert, key } = authority.issue({ name: serial, altNames: ["DNS:a.test"] });
    await plane.call(`CertificateService/${serial === "first" ? "Create" : "Update"}Certificate`, {
      certificate: { name: "a", certificateChain: cert, privateKey: { value: key } },
    });
  };
  await issue("first");
  const port = await freePort();
  await plane.call("GatewayGroupService/UpdateGatewayGroup", {
    gatewayGroup: {
      name: "default",
      listeners: [
        { name: "http", address: "127.0.0.1", port: secure.port },
        { name: "https", protocol: "LISTENER_PROTOCOL_HTTPS", address: "127.0.0.1", port },
      ],
    },
  });
  const args = ["--xds-ca", file("ca.pem"), "--xds-cert", file("client.pem"), "--xds-key", file("client.key")];
  const { program } = await startEnvoy(await envoy(), plane.xdsPort, { nodeId: "e", args });
  cleanup.defer(() => program.stop());
  const shown = (name: string) =>
    waitFor(`the ${name} certificate`, async () => (await commonName(port, authority.cert)) === name, START_MS_MAX);
  await shown("first");
  await issue("second");
  await shown("second");
});

type SecurePlane = Awaited<ReturnType<typeof startSecurePlane>>;

/** Starts an Envoy with a changed bootstrap, and sees to it that it serves on these ports whatever happens. */
async function followsChanges(
  { plane, file, args, serverArgs }: SecurePlane,
  ports: readonly number[],
  change: (bootstrap: Bootstrap) => void,
): Promise<void> {
  const edit = (text: string) => {
    const bootstrap = parse(text) as Bootstrap;
    change(bootstrap);
    return stringify(bootstrap);
  };
  const { program, adminPort } = await startEnvoy(await envoy(), plane.xdsPort, { nodeId: "e", args, edit });
  cleanup.defer(() => program.stop());
  const answeredBy = async (port: number) => {
    const { status, body } = await ask(port);
    return status === 200 ? (JSON.parse(body) as Echo).upstream : String(status);
  };
  const served = async (name: string) => {
    for (const port of ports) {
      await waitFor(`${name} on ${port}`, async () => (await answeredBy(port)) === name, START_MS_MAX);
    }
  };
  await served("only");
  const loads = ports.map((port) => startSteadyLoad(port, 1, undefined, { pauseMs: 5 }));
  const gateway = await readFile(file("gateway.yaml"), "utf8");
  const moveTo = async (to: ControlPlane, name: string) => {
    const upstream = await startUpstream(name);
    cleanup.defer(() => upstream.close());
    await writeFile(
      file("gateway.yaml"),
      gateway.replace(/host: 127\.0\.0\.1, port: \d+/, `host: 127.0.0.1, port: ${upstream.port}`),
    );
    expect((await to.sluice("apply", "-f", file("gateway.yaml"))).stderr).toBe("");
    await served(name);
  };
  await moveTo(plane, "second");
  await changesCluster(plane, file("gateway.yaml"), adminPort);
  await plane.program.stop("SIGKILL");
  const { data, adminPort: admin, xdsPort } = plane;
  const again = await ControlPlane.start(data, { adminPort: admin, xdsPort, args: serverArgs });
  cleanup.defer(() => again.program.stop());
  await moveTo(again, "third");
  await waitFor(
    "the node to be in step",
    async () => / e .* SYNCED/.test((await again.sluice("status")).stdout),
    START_MS_MAX,
  );
  for (const load of loads) {
    await load.stop();
    expect(load.failures).toEqual([]);
    expect(load.answered).toBeGreaterThan(0);
  }
  const { body: rejected } = await ask(adminPort, { path: "/stats?filter=update_rejected$" });
  expect(rejected.match(/: [1-9]/)).toBeNull();
}

/** W2: a cluster that changed is warm as soon as its endpoints have come again; Envoy counts those that it waited for in vain. */
async function changesCluster(plane: ControlPlane, path: string, adminPort: number): Promise<void> {
  const text = await readFile(path, "utf8");
  await writeFile(path, text.replace("{ name: default, nodes:", "{ name: default, timeouts: { connect: 3s }, nodes:"));
  expect((await plane.sluice("apply", "-f", path)).stderr).toBe("");
  const stat = async (name: string) =>
    Number(/: (\d+)/.exec((await ask(adminPort, { path: `/stats?filter=^${name}$` })).body)?.[1]);
  await waitFor("the changed cluster", async () => (await stat("cluster_manager.cluster_modified")) > 0, START_MS_MAX);
  await waitFor("it to be warm", async () => (await stat("cluster_manager.warming_clusters")) === 0, START_MS_MAX);
  const { body } = await ask(adminPort, { path: "/stats?filter=init_fetch_timeout$" });
  expect(body.match(/: [1-9]/)).toBeNull();
}

const toCluster = (cluster: string) => ({ match: { prefix: "/" }, route: { cluster } });

/** A listener of Envoy's own, of plain HTTP. */
const httpListener = (name: string, port: number, routes: object) => ({
  name,
  address: { socket_address: { address: "127.0.0.1", port_value: port } },
  filter_chains: [
    {
      filters: [
        {
          name: "http",
          typed_config: {
            "@type":
              "type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager",
            stat_prefix: name,
            ...routes,
            http_filters: [
              {
                name: "envoy.filters.http.router",
                typed_config: { "@type": "type.googleapis.com/envoy.extensions.filters.http.router.v3.Router" },
              },
            ],
          },
        },
      ],
    },
  ],
});

/** Of the certificate that a TLS port shows, whose answer must be 200. */
function commonName(port: number, ca: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { host: "127.0.0.1", port, ca, servername: "a.test", headers: { host: "a.test" }, agent: false };
    request(options, (response) => {
      const { socket } = response as unknown as { socket: TLSSocket };
      const { CN } = socket.getPeerCertificate().subject;
      response.resume();
      response.on("end", () =>
        response.statusCode === 200 ? resolve(String(CN)) : reject(new Error(String(response.statusCode))),
      );
    })
      .on("error", reject)
      .end();
  });
}
