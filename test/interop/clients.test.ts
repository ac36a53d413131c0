/** Operators' and programs' own clients: grpcurl, curl's JSON, and an SDK that `buf generate` makes from proto/ in an empty folder. */
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { afterAll, beforeAll, describe, expect, test } from "vitest";

import { ControlPlane, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { Program, root, run } from "../support/processes.ts";
import { grpcurl } from "../support/tools.ts";
import { waitFor } from "../support/wait.ts";

let dir: Awaited<ReturnType<typeof temporaryDir>>;
let plane: ControlPlane;
let grpcurlPath: string;
let token: string;

beforeAll(async () => {
  dir = await temporaryDir();
  grpcurlPath = await grpcurl();
  plane = await ControlPlane.start(join(dir.path, "data"));
  token = await plane.token();
});

afterAll(async () => {
  await plane?.program.stop();
  await dir?.remove();
});

describe("grpcurl", () => {
  const call = (...args: string[]) => run(grpcurlPath, ["-plaintext", ...args]);
  const address = () => `127.0.0.1:${plane.adminPort}`;

  test("lists and describes the API", async () => {
    const { stdout } = await call(address(), "list");
    expect(stdout.split("\n")).toEqual(
      expect.arrayContaining([
        "grpc.health.v1.Health",
        "sluice.admin.v1.GatewayGroupService",
        "sluice.admin.v1.GatewayService",
        "sluice.admin.v1.ServiceService",
        "sluice.admin.v1.StatusService",
      ]),
    );
    expect((await call(address(), "describe", "sluice.model.v1.Route")).stdout).toContain("repeated string paths");
  });

  test("calls with the token, and not without", async () => {
    const list = "sluice.admin.v1.GatewayGroupService/ListGatewayGroups";
    const { stdout } = await call("-H", `authorization: Bearer ${token}`, address(), list);
    expect(JSON.parse(stdout)).toMatchObject({ items: [{ gatewayGroup: { name: "default" } }] });
    const refused = await call(address(), list);
    expect(refused.code).not.toBe(0);
    expect(refused.stderr).toContain("Unauthenticated");
    expect(refused.stderr).not.toContain(token);
  });

  test("shows every problem of a bad write", async () => {
    const service = { name: "bad name", hosts: ["-"], routes: [{ name: "r", paths: ["x"], upstream: "none" }] };
    const { stderr } = await call(
      ...["-H", `authorization: Bearer ${token}`, "-d", JSON.stringify({ service })],
      ...[address(), "sluice.admin.v1.ServiceService/CreateService"],
    );
    for (const field of [
      "service.name",
      "service.hosts[0]",
      "service.routes[0].paths[0]",
      "service.routes[0].upstream",
    ]) {
      expect(stderr).toContain(field);
    }
  });

  test("reports an instance, which counts until its lease is over", async () => {
    const file = join(dir.path, "leases.yaml");
    const upstream = "{ name: default, discovery: { registry: own, service: carts } }";
    await writeFile(
      file,
      `registries: [{ name: own, leases: {} }]
services: [{ name: carts, upstreams: [${upstream}], routes: [{ name: all, paths: ["/*"] }] }]`,
    );
    expect(await plane.sluice("apply", "-f", file)).toMatchObject({ code: 0 });
    const lease = async (method: string, message: object) => {
      const header = ["-H", `authorization: Bearer ${token}`];
      const answer = await call(
        ...[...header, "-d", JSON.stringify({ registry: "own", ...message })],
        ...[address(), `sluice.discovery.v1.LeaseService/${method}`],
      );
      expect(answer).toMatchObject({ code: 0 });
      return JSON.parse(answer.stdout) as { readonly unknown?: readonly unknown[] };
    };
    const name = { service: { service: "carts" }, id: "cart-1" };
    const report = (ttl: string) =>
      lease("Report", { instances: [{ name, endpoint: { address: "10.0.0.1", port: 8080 }, ttl }] });
    const usable = (count: number) =>
      waitFor(`${count} usable instances`, async () => {
        const { stdout } = await plane.sluice("discovery", "services");
        if (new RegExp(`^default +own +carts .* ${count} of ${count} `, "m").test(stdout)) return true;
        throw new Error(stdout);
      });
    expect(await report("600s")).toMatchObject({ heartbeatInterval: "200s" });
    await usable(1);
    expect(await lease("Heartbeat", { instances: [name] })).not.toHaveProperty("unknown");
    await report("1s");
    await usable(0);
    expect(await lease("Heartbeat", { instances: [name] })).toMatchObject({ unknown: [name] });
    await report("600s");
    await usable(1);
    await lease("Leave", { instances: [name] });
    await usable(0);
    expect(await plane.sluice("delete", "service", "carts")).toMatchObject({ code: 0 });
  });

  test("the xDS port: its services, their schema, its health, and a first answer", async () => {
    const xds = `127.0.0.1:${plane.xdsPort}`;
    const { stdout } = await call(xds, "list");
    expect(stdout.split("\n")).toEqual(
      expect.arrayContaining([
        "envoy.service.discovery.v3.AggregatedDiscoveryService",
        "envoy.service.route.v3.VirtualHostDiscoveryService",
        "grpc.health.v1.Health",
      ]),
    );
    expect((await call(xds, "describe", "envoy.config.cluster.v3.Cluster")).stdout).toContain("string alt_stat_name");
    expect((await call(xds, "grpc.health.v1.Health/Check")).stdout).toContain("SERVING");
    const request = { node: { id: "grpcurl" }, typeUrl: "type.googleapis.com/envoy.config.listener.v3.Listener" };
    const method = "envoy.service.discovery.v3.AggregatedDiscoveryService/StreamAggregatedResources";
    const asking = new Program(grpcurlPath, ["-plaintext", "-d", JSON.stringify(request), xds, method]);
    try {
      await waitFor("the listener", () => {
        // It may have ended by then: it closes its side of the stream at once.
        if (asking.stdout.includes('"name": "http"')) return true;
        if (asking.exited) throw new Error(asking.stderr);
        return false;
      });
    } finally {
      await asking.stop("SIGKILL");
    }
  });

  test("health", async () => {
    expect((await call(address(), "grpc.health.v1.Health/Check")).stdout).toContain("SERVING");
  });
});

test("curl: JSON over HTTP/1.1 on the same port", async () => {
  const path = "/sluice.admin.v1.StatusService/GetStatus";
  const headers = { "content-type": "application/json", authorization: `Bearer ${token}` };
  const answer = await ask(plane.adminPort, { method: "POST", path, headers, body: "{}" });
  expect(answer.status).toBe(200);
  expect(JSON.parse(answer.body)).toMatchObject({ store: "sqlite" });
  const { status } = await ask(plane.adminPort, {
    method: "POST",
    path,
    headers: { "content-type": "application/json" },
    body: "{}",
  });
  expect(status).toBe(401);
});

test("an SDK generated in an empty folder compiles and works", async () => {
  const sdk = join(dir.path, "sdk");
  await mkdir(sdk, { recursive: true });
  // The proto folder as a stranger would get it: without what is generated here.
  await cp(join(root, "proto"), join(dir.path, "proto"), {
    recursive: true,
    filter: (from) => !from.includes("/proto/gen"),
  });
  await writeFile(
    join(sdk, "buf.gen.yaml"),
    "version: v2\nplugins:\n  - local: protoc-gen-es\n    out: gen\n    include_imports: true\n    opt: [target=ts, import_extension=ts]\n",
  );
  const path = { PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"]}` };
  const generated = await run("buf", ["generate", join(dir.path, "proto")], { cwd: sdk, env: path });
  expect(generated.stderr).toBe("");
  // The runtime packages, as `npm install` would put them there.
  await symlink(join(root, "node_modules"), join(sdk, "node_modules"));
  await writeFile(join(sdk, "package.json"), '{ "type": "module" }');
  await writeFile(
    join(sdk, "client.ts"),
    `import { createClient } from "@connectrpc/connect";
import { createGrpcTransport } from "@connectrpc/connect-node";
import { ServiceService } from "./gen/sluice/admin/v1/service_service_pb.ts";

const client = createClient(ServiceService, createGrpcTransport({ baseUrl: process.argv[2] as string }));
const headers = { authorization: \`Bearer \${process.argv[3]}\` };
await client.createService({ service: { name: "sdk", hosts: ["sdk.example.com"] } }, { headers });
const { items } = await client.listServices({}, { headers });
console.log(items.map((item) => item.service?.name).join());
process.exit(0);
`,
  );
  const options = ["--noEmit", "--strict", "--module", "nodenext", "--target", "esnext", "--skipLibCheck"];
  const compiled = await run("tsc", [...options, "--allowImportingTsExtensions", "--types", "node", "client.ts"], {
    cwd: sdk,
    env: path,
  });
  expect(compiled.stdout).toBe("");
  const ran = await run(
    "node",
    ["--experimental-transform-types", "--no-warnings", "client.ts", `http://127.0.0.1:${plane.adminPort}`, token],
    {
      cwd: sdk,
      env: path,
    },
  );
  expect(ran.stderr).toBe("");
  expect(ran.stdout.trim().split(",")).toContain("sdk");
});
