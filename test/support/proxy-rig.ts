import { readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { ControlPlane, startProxy, temporaryDir } from "./gateway.ts";
import { type HostileOrigin, startHostileOrigin } from "./hostile-origin.ts";
import { ask } from "./http.ts";
import { freePort } from "./ports.ts";
import type { Program } from "./processes.ts";
import { startUpstream, type Upstream } from "./upstream.ts";
import { waitFor } from "./wait.ts";

/** A native proxy with two echoing upstreams (hosts in general) and a hostile one (host bad.test). */
export interface ProxyRig {
  readonly port: number;
  readonly echoes: readonly Upstream[];
  readonly hostile: HostileOrigin;
  readonly program: Program;
  readonly control: ControlPlane;
  /** A counter or gauge of /stats; 0 if there is none of that name. */
  stat(name: string): Promise<number>;
  /** Memory that the proxy's process holds, in bytes (VmRSS). */
  residentBytes(): Promise<number>;
  /** Its open files and sockets. */
  openFiles(): Promise<number>;
  /** Calls a method of the admin API with JSON; throws unless it answers 200. */
  admin(method: string, message: object): Promise<unknown>;
  stop(): Promise<void>;
}

export async function startProxyRig(): Promise<ProxyRig> {
  const dir = await temporaryDir();
  const echoes = [await startUpstream("one"), await startUpstream("two")];
  const hostile = await startHostileOrigin();
  const port = await freePort();
  const control = await ControlPlane.start(join(dir.path, "data"));
  const file = join(dir.path, "gateway.yaml");
  await writeFile(
    file,
    `
gatewayGroups:
  - name: default
    accessLog: { path: ${join(dir.path, "access.log")} }
    listeners: [{ name: http, protocol: http, address: 127.0.0.1, port: ${port} }]
services:
  - name: bad
    hosts: [bad.test]
    upstreams: [{ name: default, nodes: [{ host: 127.0.0.1, port: ${hostile.port} }] }]
    routes: [{ name: all, paths: [/*] }]
  - name: echo
    upstreams:
      - name: default
        nodes: [${echoes.map((echo) => `{ host: 127.0.0.1, port: ${echo.port} }`).join(", ")}]
    routes: [{ name: all, paths: [/*] }]
`,
  );
  const applied = await control.sluice("apply", "-f", file);
  if (applied.code !== 0) throw new Error(applied.stderr);
  const { program, adminPort } = await startProxy(control.xdsPort, { workers: 2 });
  await waitFor("traffic", async () => (await ask(port, { headers: { host: "a.test" } })).status === 200);
  return {
    port,
    echoes,
    hostile,
    program,
    control,
    async stat(name) {
      const { body } = await ask(adminPort, { path: "/stats" });
      const line = body.split("\n").find((each) => each.startsWith(`${name}: `));
      return line === undefined ? 0 : Number(line.slice(name.length + 2));
    },
    async residentBytes() {
      const status = await readFile(`/proc/${program.pid}/status`, "utf8");
      return Number(/VmRSS:\s+(\d+) kB/.exec(status)?.[1]) * 1024;
    },
    openFiles: async () => (await readdir(`/proc/${program.pid}/fd`)).length,
    admin: (method, message) => control.call(method, message),
    async stop() {
      await program.stop();
      await control.program.stop();
      for (const origin of [...echoes, hostile]) await origin.close();
      await dir.remove();
    },
  };
}
