import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { ControlPlane, startEnvoy, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { Program } from "../support/processes.ts";
import { envoy, haproxy, nginx } from "../support/tools.ts";
import { waitFor } from "../support/wait.ts";
import { gatewayFile, haproxyConfig, host, proxyConfig, upstreamConfig } from "./configs.ts";
import type { Target } from "./load.ts";

/** What is measured, started and answering; all are ended by `stop`. */
export interface Peers {
  readonly targets: readonly Target[];
  readonly upstreamPort: number;
  /** A folder for scripts and logs. */
  readonly dir: string;
  readonly stop: () => Promise<void>;
}

/** Names that `startPeers` knows. */
export const peerNames = ["nginx", "haproxy", "native", "envoy"] as const;
export type PeerName = (typeof peerNames)[number];

/** Starts an upstream and those of the peers that are asked for, with one worker each. */
export async function startPeers(names: readonly PeerName[]): Promise<Peers> {
  const dir = await temporaryDir();
  const programs: Program[] = [];
  const stop = async () => {
    for (const program of programs.reverse()) await program.stop();
    await dir.remove();
  };
  try {
    const upstreamPort = await freePort();
    programs.push(await startNginx(join(dir.path, "upstream"), upstreamConfig(upstreamPort)));
    const targets: Target[] = [];
    if (names.includes("nginx")) {
      const port = await freePort();
      const program = await startNginx(join(dir.path, "nginx"), proxyConfig(port, upstreamPort));
      programs.push(program);
      targets.push({ name: "nginx", port, pid: program.pid });
    }
    if (names.includes("haproxy")) {
      const port = await freePort();
      const program = await startHaproxy(join(dir.path, "haproxy"), haproxyConfig(port, upstreamPort));
      programs.push(program);
      targets.push({ name: "haproxy", port, pid: program.pid });
    }
    targets.push(...(await startGateways(names, dir.path, upstreamPort, programs)));
    for (const { name, port } of targets) await waitUntilAnswers(name, port);
    return { targets, upstreamPort, dir: dir.path, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

/** Starts nginx in the foreground with this configuration. */
export async function startNginx(prefix: string, config: string): Promise<Program> {
  const tool = await nginx();
  await mkdir(prefix, { recursive: true });
  const file = join(prefix, "nginx.conf");
  await writeFile(file, config);
  return new Program(tool.path, ["-p", prefix, "-c", file, "-e", join(prefix, "error.log")]);
}

async function startHaproxy(prefix: string, config: string): Promise<Program> {
  const tool = await haproxy();
  await mkdir(prefix, { recursive: true });
  const file = join(prefix, "haproxy.cfg");
  await writeFile(file, config);
  const command = 'exec "$0" -db -f "$1" > "$2"';
  return new Program("sh", ["-c", command, tool.path, file, join(prefix, "access.log")], { env: tool.env });
}

/** A native proxy of another tree of the repository, with that tree's control plane; `name` tells it from others. */
export async function startTree(name: string, root: string, upstreamPort: number, dir: string): Promise<Tree> {
  const path = join(root, "control-plane/cli/sluice");
  await mkdir(dir, { recursive: true });
  const plane = await ControlPlane.start(join(dir, "data"), { path });
  const port = await freePort();
  const file = join(dir, "gateway.yaml");
  await writeFile(file, gatewayFile({ native: port }, upstreamPort, dir));
  const applied = await plane.sluice("apply", "-f", file);
  if (applied.code !== 0) throw new Error(applied.stderr);
  const { program } = await startProxy(plane.xdsPort, { group: "native", workers: 1, path });
  await waitUntilAnswers(name, port);
  return {
    target: { name, port, pid: program.pid },
    async stop() {
      await program.stop();
      await plane.program.stop();
    },
  };
}

/** A proxy that startTree() started. */
export interface Tree {
  readonly target: Target;
  readonly stop: () => Promise<void>;
}

const waitUntilAnswers = (name: string, port: number) =>
  waitFor(
    `${name} to answer`,
    async () => (await ask(port, { path: "/api/v3/items/small", headers: { host: host(7) } })).status === 200,
  );

/** The native proxy and Envoy get the same resources from one control plane. */
async function startGateways(
  names: readonly PeerName[],
  dir: string,
  upstreamPort: number,
  programs: Program[],
): Promise<Target[]> {
  if (!names.includes("native") && !names.includes("envoy")) return [];
  const plane = await ControlPlane.start(join(dir, "data"));
  programs.push(plane.program);
  const ports = { native: await freePort(), envoy: await freePort() };
  const file = join(dir, "gateway.yaml");
  await writeFile(file, gatewayFile(ports, upstreamPort, dir));
  const applied = await plane.sluice("apply", "-f", file);
  if (applied.code !== 0) throw new Error(applied.stderr);
  const targets: Target[] = [];
  if (names.includes("native")) {
    const { program } = await startProxy(plane.xdsPort, { group: "native", workers: 1 });
    programs.push(program);
    targets.push({ name: "native", port: ports.native, pid: program.pid });
  }
  if (names.includes("envoy")) {
    const { program } = await startEnvoy(await envoy(), plane.xdsPort, { group: "envoy" });
    programs.push(program);
    targets.push({ name: "envoy", port: ports.envoy, pid: program.pid });
  }
  return targets;
}
