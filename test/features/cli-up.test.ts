/** `sluice up`: the programs it keeps running, the file it follows, and the demo. */
import { execFileSync } from "node:child_process";
import { mkdirSync, readFileSync, renameSync, rmdirSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

import { afterEach, expect, test } from "vitest";

import { TestAuthority } from "../support/certificates.ts";
import { freePorts } from "../support/ports.ts";
import { childrenOf, type RunningUp, sluice, startUp, temporaryDirectory, until } from "./cli-harness.ts";

const started: RunningUp[] = [];
const directories: { remove(): void }[] = [];

afterEach(async () => {
  await Promise.all(started.splice(0).map((up) => up.stop()));
  for (const directory of directories.splice(0)) directory.remove();
});

const anyPort = ["--admin", "127.0.0.1:0", "--xds", "127.0.0.1:0"];

function setUp(...flags: string[]) {
  const directory = temporaryDirectory();
  directories.push(directory);
  const data = join(directory.path, "data");
  const config = join(directory.path, "gateway.yaml");
  const start = (...more: string[]) => {
    const up = startUp(["--data", data, ...anyPort, "--no-proxy", ...flags, ...more]);
    started.push(up);
    return up;
  };
  const names = async () => {
    const { stdout } = await sluice(["get", "services", "-o", "json", "--data", data]);
    return (JSON.parse(stdout) as { services?: { name: string }[] }).services?.map(({ name }) => name) ?? [];
  };
  return { data, config, directory: directory.path, start, names };
}

const services = (...names: string[]) =>
  `services:${names.length === 0 ? " []" : ""}\n${names
    .map(
      (name) =>
        `  - { name: ${name}, hosts: [${name}.example], routes: [{ name: all, paths: [/*] }], upstreams: [{ name: default, nodes: [{ host: 127.0.0.1, port: 9001 }] }] }\n`,
    )
    .join("")}`;

test("the file of --config is followed: changes, mistakes, replaced files, and what vanishes from it", async () => {
  const { data, config, directory, start, names } = setUp();
  writeFileSync(config, services("a", "b"));
  const up = start("--config", config);
  await up.waitFor("is up");
  const other = join(directory, "other.yaml");
  writeFileSync(other, services("other"));
  expect((await sluice(["apply", "-f", other, "--data", data])).code).toBe(0);

  // Written in place.
  writeFileSync(config, services("a", "b", "c"));
  await up.waitFor(/\+ service c /);
  expect(await names()).toEqual(["a", "b", "c", "other"]);

  // Broken: nothing changes, and it says where.
  writeFileSync(config, services("a").replace("hosts", "hots"));
  await up.waitFor(/gateway\.yaml:2:16: services\[a\]\.hots: is no field of a service; did you mean hosts\?/);
  await up.waitFor("the gateway stays as it was");
  expect(await names()).toEqual(["a", "b", "c", "other"]);

  // Replaced, as editors do; only what came from the file goes with it.
  writeFileSync(`${config}~`, services("b", "d"));
  renameSync(`${config}~`, config);
  await up.waitFor(/- service c /);
  expect(await names()).toEqual(["b", "d", "other"]);

  // Gone: the last content stays, and a new file is taken up.
  rmSync(config);
  await up.waitFor("no such file or directory; the last content stays");
  writeFileSync(config, "");
  await up.waitFor("is empty; for a gateway without services");
  expect(await names()).toEqual(["b", "d", "other"]);
  writeFileSync(config, services("e"));
  await up.waitFor(/\+ service e /);
  expect(await names()).toEqual(["e", "other"]);
});

test("a file that can't be applied for want of a data directory to write in ends nothing, and the next one is", async () => {
  const { data, config, start, names } = setUp();
  writeFileSync(config, services("a"));
  const up = start("--config", config);
  await up.waitFor("is up");
  // Where it writes down which objects are the file's; as on a full disk that fails, for root too.
  const draft = join(data, `config-objects.json.${up.process.pid}`);
  mkdirSync(draft);
  writeFileSync(config, services("a", "b"));
  await up.waitFor(/gateway\.yaml: not applied: Error: EISDIR/);
  expect(await names()).toEqual(["a"]);
  rmdirSync(draft);
  writeFileSync(config, services("a", "b", "c"));
  await up.waitFor(/\+ service c /);
  expect(await names()).toEqual(["a", "b", "c"]);
});

test("a certificate that is renewed beside the file is applied, and one that has expired is told", async () => {
  using authority = new TestAuthority();
  const { data, config, directory, start } = setUp();
  const issue = (days: number) => {
    const { cert, key } = authority.issue({ name: "shop.test", altNames: ["DNS:shop.test"], days });
    writeFileSync(join(directory, "shop.key"), key);
    writeFileSync(join(directory, "shop.pem"), cert);
  };
  const expiry = async () => (await sluice(["get", "certificates", "--data", data])).stdout;
  issue(30);
  writeFileSync(config, "certificates: [{ name: shop, certificateFile: shop.pem, keyFile: shop.key }]\n");
  const up = start("--config", config);
  await up.waitFor("is up");
  expect(await expiry()).toMatch(/, (29|30) days/);
  issue(60);
  await up.waitFor(/~ certificate shop/);
  expect(await expiry()).toMatch(/, (59|60) days/);
  issue(-1);
  await up.waitFor(/! certificate shop: expired on \d{4}-\d\d-\d\d/);
  await until(
    async () => (await expiry()).includes("EXPIRED"),
    () => `an expired certificate in:\n${up.output()}`,
  );
});

test("what vanishes from the file while nothing runs is deleted at the next start", async () => {
  const { config, start, names } = setUp();
  writeFileSync(config, services("a", "b"));
  const first = start("--config", config);
  await first.waitFor("is up");
  expect(await first.stop()).toBe(0);
  writeFileSync(config, services("b"));
  const second = start("--config", config);
  await second.waitFor("is up");
  expect(await names()).toEqual(["b"]);
});

test("a misspelt --config is an error at the start", async () => {
  const { config, start } = setUp();
  const up = start("--config", `${config}.none`);
  expect(await up.exited).toBe(1);
  expect(up.output()).toContain("gateway.yaml.none: no such file or directory");
});

test("the demo fills an empty gateway, comes up again, and leaves others alone", async () => {
  const { data, start, names } = setUp();
  const up = start("--demo");
  await up.waitFor("is up");
  expect(await names()).toEqual(["demo"]);
  const shown = await sluice(["get", "services", "demo", "-o", "json", "--data", data]);
  const ports = [...shown.stdout.matchAll(/"port": (\d+)/g)].map(([, port]) => Number(port));
  expect(ports).toHaveLength(2);
  const instances = await Promise.all(ports.map(echo));
  expect(instances.map(({ instance }) => instance)).toEqual(["echo-1", "echo-2"]);
  expect(instances[0]).toMatchObject({ method: "POST", path: "/x?y=1", body: "hello", headers: { "x-test": "1" } });
  expect(await up.stop()).toBe(0);

  const again = start("--demo");
  await again.waitFor("is up");
  expect((await Promise.all(ports.map(echo))).map(({ instance }) => instance)).toEqual(["echo-1", "echo-2"]);
  expect(await again.stop()).toBe(0);

  const mine = setUp();
  writeFileSync(mine.config, services("mine"));
  const other = mine.start("--config", mine.config, "--demo");
  await other.waitFor("there is no demo");
  expect(await mine.names()).toEqual(["mine"]);
});

async function echo(port: number): Promise<{ instance: string }> {
  const answer = await fetch(`http://127.0.0.1:${port}/x?y=1`, {
    method: "POST",
    body: "hello",
    headers: { "x-test": "1" },
  });
  return (await answer.json()) as { instance: string };
}

test("a taken port is told once, and up ends", async () => {
  const { start } = setUp();
  const holder = createServer();
  const port = await new Promise<number>((resolve) => {
    holder.listen(0, "127.0.0.1", () => resolve((holder.address() as { port: number }).port));
  });
  const up = start("--admin", `127.0.0.1:${port}`);
  expect(await up.exited).toBe(1);
  holder.close();
  expect(up.output().split(`127.0.0.1:${port}`)).toHaveLength(2);
  expect(up.output()).toMatch(/error: /);
  expect(up.output()).not.toMatch(/^ +at /m);
});

test("what of the environment is for the control plane alone doesn't reach the proxy, which stands before clients", async () => {
  const directory = temporaryDirectory();
  directories.push(directory);
  const token = `sluice_${"a".repeat(43)}`;
  const up = startUp(["--data", join(directory.path, "data"), ...anyPort, "--proxy-admin", "127.0.0.1:0"], {
    ...{ SLUICE_ADMIN_TOKEN: token, SLUICE_TOKEN: token, SLUICE_LOG_LEVEL: "error" },
  });
  started.push(up);
  await until(
    () => childrenOf(up, "proxy").length > 0,
    () => `the proxy in:\n${up.output()}`,
  );
  const environ = readFileSync(`/proc/${childrenOf(up, "proxy")[0]}/environ`, "utf8").split("\0");
  expect(environ).toContain("SLUICE_LOG_LEVEL=error");
  expect(environ.filter((entry) => entry.includes(token))).toEqual([]);
});

test("a control plane that is killed starts again, with all that was written", async () => {
  const { data, directory, start, names } = setUp();
  const [admin, xds] = await freePorts(2);
  const up = start("--admin", `127.0.0.1:${admin}`, "--xds", `127.0.0.1:${xds}`);
  await up.waitFor("is up");
  const file = join(directory, "kept.yaml");
  writeFileSync(file, services("kept"));
  expect((await sluice(["apply", "-f", file, "--data", data])).code).toBe(0);
  const [child] = childrenOf(up);
  process.kill(child ?? 0, "SIGKILL");
  await up.waitFor("the control plane was ended by SIGKILL");
  await up.waitFor("the control plane runs again");
  expect(await names()).toEqual(["kept"]);
});

test("the programs end with their supervisor, even if that is killed", async () => {
  const { start } = setUp();
  const up = start();
  await up.waitFor("is up");
  const children = childrenOf(up);
  expect(children).toHaveLength(1);
  up.process.kill("SIGKILL");
  await until(
    () => children.every((pid) => !isRunning(pid)),
    () => `the end of ${children.join()}`,
  );
});

function isRunning(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}

test("an admin API with TLS is known on its own machine, whatever name its certificate has", async () => {
  const { data, directory, start, names } = setUp();
  const [cert, key] = [join(directory, "cert.pem"), join(directory, "key.pem")];
  const request = ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "1"];
  execFileSync("openssl", [...request, "-subj", "/CN=gateway.example.com", "-keyout", key, "-out", cert], {
    stdio: "ignore",
  });
  const up = start("--admin-tls-cert", cert, "--admin-tls-key", key, "--demo");
  await up.waitFor(/admin API +https:\/\/127\.0\.0\.1:\d+/);
  expect(await names()).toEqual(["demo"]);
  const { admin } = JSON.parse(readFileSync(join(data, "control-plane.json"), "utf8")) as { admin: string };
  const token = readFileSync(join(data, "admin-token"), "utf8").trim();
  const stranger = await sluice(["status", "--server", admin, "--token", token]);
  expect([stranger.code, stranger.stderr]).toEqual([1, expect.stringMatching(/is not trusted: .*\n.*--ca/)]);
});
