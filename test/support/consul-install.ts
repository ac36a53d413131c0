import { execFile } from "node:child_process";
import { copyFile, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

import { cached } from "./tools.ts";

const run = promisify(execFile);

const VERSION = "v1.22.7";
/** Its tree uses fields that the api module it names, behind a local replace, lacks. */
const API_VERSION = "v1.34.1";

/**
 * The path of a real Consul agent, built from the Go module proxy on the first call (some minutes). Its licence (BUSL 1.1) allows running
 * it as a peer in tests.
 */
export async function consul(): Promise<string> {
  const dir = await cached(`consul-${VERSION}`, build);
  return join(dir, "consul");
}

async function build(to: string): Promise<void> {
  const env = { ...process.env, GOFLAGS: "-mod=mod", GOWORK: "off", CGO_ENABLED: "0" };
  const { stdout } = await run("go", ["mod", "download", "-json", `github.com/hashicorp/consul@${VERSION}`], { env });
  const module = JSON.parse(stdout) as { GoMod: string; Dir: string };
  // Consul's own go.mod becomes ours, without the replacements by folders of its tree: the published modules are the same.
  const goMod = (await readFile(module.GoMod, "utf8"))
    .replace(/^module .*/m, "module peers.test/consul")
    .replace(/^.*=> \.\/.*$/gm, "");
  const wanted = `require github.com/hashicorp/consul ${VERSION}`;
  const api = `replace github.com/hashicorp/consul/api => github.com/hashicorp/consul/api ${API_VERSION}`;
  await writeFile(join(to, "go.mod"), `${goMod}\n${wanted}\n${api}\n`);
  await copyFile(join(module.Dir, "go.sum"), join(to, "go.sum"));
  await run("chmod", ["u+w", join(to, "go.sum")]);
  await run(
    "go",
    ["build", "-p", "2", "-trimpath", "-ldflags", "-s -w", "-o", join(to, "consul"), "github.com/hashicorp/consul"],
    {
      env,
      cwd: to,
      maxBuffer: 64 * 1024 * 1024,
    },
  );
  await rm(join(to, "go.mod"));
  await rm(join(to, "go.sum"));
}
