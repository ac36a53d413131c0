/** A program of another repository reports itself with an SDK that `buf generate` makes: the example of docs/discovery.md, as it is. */
import { cp, mkdir, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { expect, test } from "vitest";

import { WatchState } from "#sluice/admin/v1/discovery_service_pb.ts";

import { DiscoveryRig } from "../support/discovery-rig.ts";
import { Program, root, run } from "../support/processes.ts";
import { waitFor } from "../support/wait.ts";

test("the example reports itself with a token of its own, gets traffic, and leaves when it ends", async () => {
  await using rig = await DiscoveryRig.start();
  await rig.apply(`
registries: [{ name: own, leases: {} }]
services:
  - name: carts
    hosts: [a.test]
    upstreams: [{ name: default, discovery: { registry: own, service: carts } }]
    routes: [{ name: all, paths: ["/*"] }]
`);
  const created = await rig.control.sluice("discovery", "token", "create", "own", "carts", "--service", "carts");
  const token = created.stdout.trim();

  const sdk = join(rig.dir, "sdk");
  await mkdir(sdk);
  const proto = join(rig.dir, "proto");
  await cp(join(root, "proto"), proto, { recursive: true, filter: (from) => !from.includes("/proto/gen") });
  await writeFile(
    join(sdk, "buf.gen.yaml"),
    "{ version: v2, plugins: [{ local: protoc-gen-es, out: gen, include_imports: true, opt: [target=ts, import_extension=ts, erasable_syntax=true] }] }",
  );
  const path = `${join(root, "node_modules/.bin")}:${process.env["PATH"]}`;
  const generated = await run("buf", ["generate", proto], { cwd: sdk, env: { PATH: path } });
  expect(generated).toMatchObject({ code: 0, stderr: "" });
  // The packages that the example names, as `npm install` would put them there.
  await symlink(join(root, "node_modules"), join(sdk, "node_modules"));
  await writeFile(join(sdk, "package.json"), '{ "type": "module" }');
  await cp(join(root, "deploy/examples/report-instance.ts"), join(sdk, "report-instance.ts"));

  const one = await rig.upstream("one");
  const server = `http://127.0.0.1:${rig.control.adminPort}`;
  const args = [join(sdk, "report-instance.ts"), server, "own", "carts", "127.0.0.1", String(one.port)];
  const program = new Program(join(root, "node_modules/.bin/node"), args, { env: { SLUICE_TOKEN: token } });
  try {
    await waitFor("the program to be heard", () => {
      if (program.exited) throw new Error(program.stderr);
      return program.stdout.includes(`reported 127.0.0.1:${one.port}`);
    });
    await rig.answers("one");
    await program.stop("SIGTERM");
    expect(program.stderr).toBe("");
    await rig.state("carts", WatchState.UNKNOWN_SERVICE);
    await rig.answers("503");
  } finally {
    await program.stop("SIGKILL");
  }
});
