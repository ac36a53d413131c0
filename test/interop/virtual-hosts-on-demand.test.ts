/** Virtual hosts asked for by host (O1), by Envoy's own on-demand filter: the request waits, and goes on once its virtual host has come. */
import { writeFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "vitest";
import { parse, stringify } from "yaml";

import { ControlPlane, startEnvoy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { envoy, envoyVersion } from "../support/tools.ts";
import { type Echo, startUpstream } from "../support/upstream.ts";
import { waitFor } from "../support/wait.ts";

interface Bootstrap {
  dynamic_resources: { ads_config: { grpc_services: unknown } };
  static_resources: { listeners?: object[] };
}

const typed = (type: string, fields: object = {}) => ({ "@type": `type.googleapis.com/envoy.${type}`, ...fields });

/** A listener whose route configuration, in a file, has no virtual host but says that they come by VHDS. */
const listener = (port: number, routesFile: string) => ({
  name: "on-demand",
  address: { socket_address: { address: "127.0.0.1", port_value: port } },
  filter_chains: [
    {
      filters: [
        {
          name: "http",
          typed_config: typed("extensions.filters.network.http_connection_manager.v3.HttpConnectionManager", {
            stat_prefix: "on-demand",
            rds: {
              route_config_name: "default",
              config_source: { resource_api_version: "V3", path_config_source: { path: routesFile } },
            },
            http_filters: [
              { name: "on-demand", typed_config: typed("extensions.filters.http.on_demand.v3.OnDemand") },
              { name: "router", typed_config: typed("extensions.filters.http.router.v3.Router") },
            ],
          }),
        },
      ],
    },
  ],
});

/** A file with a route configuration that has no virtual host, but says where they come from. */
const routesBy = (source: object): string => {
  const vhds = { config_source: { resource_api_version: "V3", ...source } };
  const routes = { name: "default", ignore_port_in_host_matching: true, vhds };
  return stringify({ resources: [typed("config.route.v3.RouteConfiguration", routes)] });
};

test("an Envoy that asks by host serves each host, tells one that doesn't exist, and follows changes", async () => {
  await using cleanup = new AsyncDisposableStack();
  const dir = await temporaryDir();
  cleanup.defer(() => dir.remove());
  const plane = await ControlPlane.start(join(dir.path, "data"));
  cleanup.defer(() => plane.program.stop());
  const service = async (name: string, hosts: string[]) => {
    const upstream = await startUpstream(name);
    cleanup.defer(() => upstream.close());
    const upstreams = [{ name: "default", nodes: [{ host: "127.0.0.1", port: upstream.port }] }];
    return { name, hosts, upstreams, routes: [{ name: "all", paths: ["/*"] }] };
  };
  const apply = async (...services: object[]) => {
    const file = join(dir.path, "gateway.yaml");
    await writeFile(file, stringify({ services }));
    const applied = await plane.sluice("apply", "--prune", "-f", file);
    expect([applied.code, applied.stderr]).toEqual([0, ""]);
  };
  const [one, two] = [await service("one", ["a.test", "b.test"]), await service("two", ["*.two.test"])];
  await apply(one, two);
  const routesFile = join(dir.path, "routes.yaml");
  const port = await freePort();
  const edit = (text: string) => {
    const bootstrap = parse(text) as Bootstrap;
    const { grpc_services } = bootstrap.dynamic_resources.ads_config;
    // Envoy before 1.37 takes virtual hosts by the service of their own alone.
    const source = envoyVersion.startsWith("1.36.")
      ? { api_config_source: { api_type: "DELTA_GRPC", transport_api_version: "V3", grpc_services } }
      : { ads: {} };
    writeFileSync(routesFile, routesBy(source));
    bootstrap.static_resources.listeners = [
      ...(bootstrap.static_resources.listeners ?? []),
      listener(port, routesFile),
    ];
    return stringify(bootstrap);
  };
  const { program } = await startEnvoy(await envoy(), plane.xdsPort, { edit });
  cleanup.defer(() => program.stop());
  const answered = async (host: string) => {
    const { status, body } = await ask(port, { headers: { host } });
    return status === 200 ? (JSON.parse(body) as Echo).upstream : String(status);
  };
  const becomes = (host: string, what: string) =>
    waitFor(`${what} on ${host}`, async () => (await answered(host)) === what, 60_000);
  await becomes("a.test", "one");
  // It waited for nothing more, and so has the other name of the same virtual host.
  expect(await answered("b.test")).toBe("one");
  expect(await answered("x.two.test")).toBe("two");
  expect(await answered("late.test")).toBe("404");
  await apply({ ...one, hosts: ["a.test"] }, two, await service("late", ["late.test", "b.test"]));
  await becomes("late.test", "late");
  await becomes("b.test", "late");
  expect(await answered("a.test")).toBe("one");
  await apply(one, two);
  await becomes("late.test", "404");
  await becomes("b.test", "one");
});
