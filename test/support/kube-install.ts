/**
 * A real kube-apiserver and etcd, built from the Go module proxy: nobody publishes them as packages. On two quiet cores that takes 7 minutes
 * with a warm Go cache and some 16 with a cold one, so the interop run begins it first (test/interop/prepare.ts) and uses it last.
 */
import { execFile } from "node:child_process";
import { existsSync } from "node:fs";
import { copyFile, mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { promisify } from "node:util";

import { cacheDir, cached } from "./tools.ts";

const run = promisify(execFile);

const KUBERNETES_VERSION = "v1.35.4";
/** Kubernetes' own modules are published under this version. */
const STAGING_VERSION = `v0.${KUBERNETES_VERSION.slice("v1.".length)}`;
const NAME = `kube-${KUBERNETES_VERSION}`;

/** The folder that holds `kube-apiserver` and `etcd`. Whoever comes while another process builds them waits for it. */
export async function kube(): Promise<string> {
  const lock = join(cacheDir, `${NAME}.lock`);
  await mkdir(cacheDir, { recursive: true });
  while (!existsSync(join(cacheDir, NAME))) {
    try {
      await writeFile(lock, String(process.pid), { flag: "wx" });
    } catch {
      const holder = Number(await readFile(lock, "utf8").catch(() => ""));
      // A process that ended without its work done leaves its lock behind.
      if (holder > 0 && !existsSync(`/proc/${holder}`)) await rm(lock, { force: true });
      else await sleep(1_000);
      continue;
    }
    try {
      return await cached(NAME, build);
    } finally {
      await rm(lock, { force: true });
    }
  }
  return join(cacheDir, NAME);
}

async function build(to: string): Promise<void> {
  const env = { ...process.env, GOFLAGS: "-mod=mod", GOWORK: "off", CGO_ENABLED: "0" };
  const version = `k8s.io/kubernetes@${KUBERNETES_VERSION}`;
  const { stdout } = await run("go", ["mod", "download", "-json", version], { env: { ...env, GOFLAGS: "" } });
  const module = JSON.parse(stdout) as { GoMod: string; Dir: string };
  // The release's own go.mod becomes ours, so that all versions are the ones it was tested with; the modules that lie in its tree are
  // taken from where they are published.
  const goMod = (await readFile(module.GoMod, "utf8"))
    .replace(/^module .*/m, "module peers.test/kube")
    .replace(/=> \.\/staging\/src\/(k8s\.io\/[a-z0-9-]*)/g, `=> $1 ${STAGING_VERSION}`);
  await writeFile(join(to, "go.mod"), `${goMod}\nrequire k8s.io/kubernetes ${KUBERNETES_VERSION}\n`);
  await copyFile(join(module.Dir, "go.sum"), join(to, "go.sum"));
  await run("chmod", ["u+w", join(to, "go.sum")]);
  // Without a version the server calls itself v0.0.0 and switches off what its own version has.
  const component = "k8s.io/component-base/version";
  const minor = KUBERNETES_VERSION.split(".")[1];
  const flags = `-s -w -X ${component}.gitVersion=${KUBERNETES_VERSION} -X ${component}.gitMajor=1 -X ${component}.gitMinor=${minor}`;
  const programs = [
    ["etcd", "go.etcd.io/etcd/server/v3"],
    ["kube-apiserver", "k8s.io/kubernetes/cmd/kube-apiserver"],
  ] as const;
  for (const [name, path] of programs) {
    const args = ["-n", "15", "go", "build", "-p", "2", "-trimpath", "-ldflags", flags, "-o", join(to, name), path];
    await run("nice", args, { cwd: to, env, maxBuffer: 64 << 20 });
  }
  await rm(join(to, "go.mod"));
  await rm(join(to, "go.sum"));
}
