/** The commands of the CLI against a control plane of their own. */
import { mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";

import { afterAll, beforeAll, expect, test } from "vitest";
import { parse } from "yaml";

import { type Finished, type RunningUp, sluice, startUp, temporaryDirectory } from "./cli-harness.ts";

const directory = temporaryDirectory();
const data = join(directory.path, "data");
const example = join(import.meta.dirname, "../../control-plane/cli/testdata/gateway.yaml");
let up: RunningUp;

beforeAll(async () => {
  up = startUp(["--data", data, "--admin", "127.0.0.1:0", "--xds", "127.0.0.1:0", "--no-proxy"]);
  await up.waitFor("is up");
});

afterAll(async () => {
  expect(await up.stop()).toBe(0);
  directory.remove();
});

const run = (...args: string[]): Promise<Finished> => sluice([...args, "--data", data]);

/** Writes a gateway file and gives its path. */
function file(name: string, text: string): string {
  const path = join(directory.path, name);
  writeFileSync(path, text);
  return path;
}

const service = (name: string, host: string, port: number) => `
services:
  - name: ${name}
    hosts: [${host}]
    upstreams: [{ name: default, nodes: [{ host: 127.0.0.1, port: ${port} }] }]
    routes: [{ name: all, paths: [/*] }]
`;

test("a gateway is compared, applied, shown and taken back unchanged", async () => {
  const before = await run("diff", "-f", example);
  expect([before.code, before.stderr]).toEqual([2, ""]);
  expect(before.stdout).toContain("+ service orders (default)");
  expect(before.stdout).toMatch(/gateway\.yaml:9$/m);
  expect(before.stdout).toContain("Plan: 2 to add, 0 to change, 0 to delete.");

  const dryRun = await run("apply", "-f", example, "--dry-run");
  expect([dryRun.code, dryRun.stdout]).toEqual([0, before.stdout]);

  const applied = await run("apply", "-f", example);
  expect(applied.code).toBe(0);
  expect(applied.stdout).toContain("Applied: 2 added, 0 changed, 0 deleted.");
  expect((await run("diff", "-f", example)).code).toBe(0);

  for (const format of ["yaml", "json"]) {
    const shown = await run("get", "all", "-o", format);
    const back = await run("diff", "--prune", "-f", file(`shown.${format}`, shown.stdout));
    expect([back.code, back.stderr]).toEqual([0, ""]);
  }
  const routes = await run("get", "routes");
  expect(routes.stdout).toMatch(/^list +orders +default +GET +\/list, \/items\/\*, \/users\/:id\/orders +0 +default$/m);
});

test("a change shows the fields that differ, and nothing else", async () => {
  await run("apply", "-f", file("change.yaml", service("change", "change.example", 9001)));
  const changed = await run("diff", "-f", file("change.yaml", service("change", "change.example", 9002)));
  expect(changed.code).toBe(2);
  expect(changed.stdout).toMatch(
    /~ service change \(default\).*\n +~ upstreams.*port +9001 -> 9002\n +\(\d+ unchanged fields hidden\)/,
  );
  expect((await run("delete", "service", "change")).code).toBe(0);
  const gone = await run("get", "service", "change");
  expect([gone.code, gone.stderr]).toEqual([1, expect.stringContaining("there is no service change")]);
});

test("what the control plane refuses has its place in the file, and nothing is applied", async () => {
  const path = file(
    "wrong.yaml",
    `${service("wrong", "wrong.example", 9001)}      - { name: other, paths: [x], upstream: nowhere }\n`.replace(
      "routes: [{ name: all, paths: [/*] }]",
      "routes:\n      - { name: all, paths: [/*] }",
    ),
  );
  const refused = await run("apply", "-f", path);
  expect(refused.code).toBe(1);
  expect(refused.stderr).toMatch(/wrong\.yaml:8:\d+: services\[wrong\]\.routes\[other\]\.paths\[0\]: /);
  expect(refused.stderr).toMatch(/wrong\.yaml:8:\d+: services\[wrong\]\.routes\[other\]\.upstream: /);
  expect(refused.stderr).toContain("2 problems; nothing was applied");
  expect((await run("get", "service", "wrong")).code).toBe(1);
});

test("a directory is one gateway, and --prune deletes what it doesn't have", async () => {
  const path = join(directory.path, "many");
  mkdirSync(path);
  writeFileSync(join(path, "a.yaml"), service("pruned-a", "a.example", 9001));
  writeFileSync(join(path, "b.yaml"), service("pruned-b", "b.example", 9002));
  expect((await run("apply", "-f", path)).stdout).toContain("Applied: 2 added");
  const pruned = await run("apply", "--prune", "-o", "json", "-f", example);
  const changes = (
    JSON.parse(pruned.stdout) as { changes: { type: string; before?: { service?: { name: string } } }[] }
  ).changes;
  expect(changes.map(({ type, before }) => `${type} ${before?.service?.name}`)).toEqual(
    expect.arrayContaining(["deleted pruned-a", "deleted pruned-b"]),
  );
});

test("status tells of the control plane in every format", async () => {
  expect((await run("status")).stdout).toMatch(/^CONTROL PLANE +0\.1\.0 +store sqlite, revision \d+/);
  const asJson = JSON.parse((await run("status", "-o", "json")).stdout) as { controlPlane: { store: string } };
  const asYaml = parse((await run("status", "-o", "yaml")).stdout) as typeof asJson;
  expect([asJson.controlPlane.store, asYaml.controlPlane.store]).toEqual(["sqlite", "sqlite"]);
  const unknown = await run("status", "nobody");
  expect([unknown.code, unknown.stderr]).toEqual([1, expect.stringContaining("no data plane nobody")]);
});

test("mistakes are told with what would be right, without a stack", async () => {
  const cases: (readonly [string[], RegExp])[] = [
    [["get", "servises"], /did you mean services\?/],
    [["stauts"], /Did you mean status\?/],
    [["delete", "route", "x"], /gateway-group, service, registry, certificate or ca-certificate/],
    [["apply", "-f", join(directory.path, "nowhere.yaml")], /nowhere\.yaml: no such file or directory/],
    [["status", "--token", "wrong"], /refused the token/],
    [
      ["status", "--server", "http://127.0.0.1:1", "--token", "x"],
      /no control plane answers at http:\/\/127\.0\.0\.1:1 .*ECONNREFUSED/,
    ],
    [["status", "--server", "http://gateway.example:9180", "--token", "x"], /would get the token in plain text/],
    [["status", "--timeout", "soon"], /a duration is written like/],
    [["up", "--admin", "localhost"], /an address is written HOST:PORT/],
  ];
  for (const [args, said] of cases) {
    const failed = await run(...args);
    expect([failed.code, failed.stdout], args.join(" ")).toEqual([1, ""]);
    expect(failed.stderr).toMatch(said);
    expect(failed.stderr).not.toMatch(/^ +at /m);
  }
});

test("a context keeps a server with its token, for its owner only", async () => {
  const env = { XDG_CONFIG_HOME: join(directory.path, "config") };
  const { admin } = JSON.parse(readFileSync(join(data, "control-plane.json"), "utf8")) as { admin: string };
  const token = readFileSync(join(data, "admin-token"), "utf8").trim();
  const set = await sluice(["context", "set", "here", "--server", admin, "--token", token], env);
  expect([set.code, set.stderr]).toEqual([0, ""]);
  expect(statSync(join(env.XDG_CONFIG_HOME, "sluice/config.yaml")).mode & 0o777).toBe(0o600);
  expect((await sluice(["status"], env)).stdout).toContain("CONTROL PLANE");
  const list = await sluice(["context", "list"], env);
  expect(list.stdout).toMatch(/^\* +here +http:\/\/127\.0\.0\.1:\d+ +yes$/m);
  expect(list.stdout).not.toContain(token);
  expect((await sluice(["context", "use", "there"], env)).stderr).toContain("there are here");
});

test("every flag is an environment variable too", async () => {
  const shown = await sluice(["get", "services"], { SLUICE_DATA: data, SLUICE_OUTPUT: "json" });
  expect(JSON.parse(shown.stdout)).toHaveProperty("services");
  const wrong = await sluice(["up"], { SLUICE_WORKERS: "many" });
  expect([wrong.code, wrong.stderr]).toEqual([1, expect.stringContaining("SLUICE_WORKERS")]);
});

test("the bootstrap for Envoy names group, node and addresses", async () => {
  const { stdout } = await sluice([
    "bootstrap",
    "envoy",
    "--group",
    "prod",
    "--node-id",
    "px-9",
    "--xds",
    "10.0.0.5:18000",
    "--admin",
    "127.0.0.1:9902",
  ]);
  const bootstrap = parse(stdout) as Record<string, unknown>;
  expect(bootstrap).toMatchObject({
    node: { id: "px-9", cluster: "prod" },
    admin: { address: { socket_address: { address: "127.0.0.1", port_value: 9902 } } },
    dynamic_resources: { ads_config: { api_type: "DELTA_GRPC" } },
  });
  expect(stdout).toContain("address: 10.0.0.5");
});

test.each(["bash", "zsh", "fish"])("the completion script for %s has commands and flags", async (shell) => {
  const { code, stdout } = await sluice(["completion", shell]);
  expect(code).toBe(0);
  for (const word of ["control-plane", "context set", "prune", "gateway-groups"]) expect(stdout).toContain(word);
});
