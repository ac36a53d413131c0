import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";

import { type CertificateWish, TestAuthority } from "../support/certificates.ts";
import { ControlPlane, startEnvoy, startProxy, temporaryDir } from "../support/gateway.ts";
import { ask } from "../support/http.ts";
import { freePort } from "../support/ports.ts";
import { Program } from "../support/processes.ts";
import { envoy, haproxy, nginx } from "../support/tools.ts";
import { waitFor } from "../support/wait.ts";
import {
  certificateFile,
  gatewayFile,
  GRPC_HOST,
  host,
  keyFile,
  type PeerPorts,
  type UpstreamPorts,
} from "./configs.ts";
import { fastifyPeer } from "./fastify-peer.ts";
import { grpcMessage } from "./grpc-message.ts";
import { haproxyConfig } from "./haproxy-config.ts";
import type { Target } from "./target.ts";
import { proxyConfig, upstreamConfig } from "./nginx-configs.ts";

/** What is measured, started and answering; all are ended by `stop`. */
export interface Peers {
  readonly targets: readonly Target[];
  readonly upstream: UpstreamPorts;
  /** A folder for scripts and logs, with the certificates. */
  readonly dir: string;
  readonly stop: () => Promise<void>;
}

/** Names that `startPeers` knows. fastify speaks plain HTTP/1.1 only. */
export const peerNames = ["nginx", "haproxy", "native", "envoy", "fastify"] as const;
export type PeerName = (typeof peerNames)[number];

const freePorts = async (): Promise<PeerPorts> => ({
  plain: await freePort(),
  rsa: await freePort(),
  ecdsa: await freePort(),
});

/** Starts an upstream and those of the peers that are asked for, with one worker each. */
export async function startPeers(names: readonly PeerName[]): Promise<Peers> {
  const dir = await temporaryDir();
  const programs: Program[] = [];
  const stop = async () => {
    for (const program of programs.reverse()) await program.stop();
    await dir.remove();
  };
  try {
    await writeCertificates(dir.path);
    const upstream = { http: await freePort(), grpc: await freePort() };
    await mkdir(join(dir.path, "upstream"));
    await writeFile(join(dir.path, "upstream/message"), grpcMessage);
    programs.push(await startNginx(join(dir.path, "upstream"), upstreamConfig(upstream)));
    const targets: Target[] = [];
    for (const name of names) {
      if (name === "native" || name === "envoy") continue;
      const ports = await freePorts();
      const program = await starters[name](ports, upstream, dir.path);
      programs.push(program);
      targets.push({ name, ports, pid: program.pid });
    }
    targets.push(...(await startGateways(names, dir.path, upstream, programs)));
    for (const { name, ports } of targets) await waitUntilAnswers(name, ports.plain);
    return { targets, upstream, dir: dir.path, stop };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function writeCertificates(dir: string): Promise<void> {
  using authority = new TestAuthority("bench");
  const wish: CertificateWish = { name: "bench", altNames: ["DNS:*.example.com", `DNS:${GRPC_HOST}`] };
  for (const kind of ["rsa", "ecdsa"] as const) {
    const { cert, key } = authority.issue({ ...wish, type: kind === "rsa" ? "rsa" : "ec" });
    await writeFile(certificateFile(dir, kind), cert);
    await writeFile(keyFile(dir, kind), key);
  }
}

type Starter = (ports: PeerPorts, upstream: UpstreamPorts, dir: string) => Promise<Program>;

const starters: Readonly<Record<"nginx" | "haproxy" | "fastify", Starter>> = {
  nginx: (ports, upstream, dir) => startNginx(join(dir, "nginx"), proxyConfig(ports, upstream, dir)),
  haproxy: startHaproxy,
  async fastify(ports, upstream, dir) {
    const program = await fastifyPeer(ports.plain, upstream.http, join(dir, "fastify.log"));
    return new Program(process.execPath, [program]);
  },
};

/** Starts nginx in the foreground with this configuration. */
export async function startNginx(prefix: string, config: string): Promise<Program> {
  const tool = await nginx();
  await mkdir(prefix, { recursive: true });
  const file = join(prefix, "nginx.conf");
  await writeFile(file, config);
  return new Program(tool.path, ["-p", prefix, "-c", file, "-e", join(prefix, "error.log")]);
}

async function startHaproxy(ports: PeerPorts, upstream: UpstreamPorts, dir: string): Promise<Program> {
  const tool = await haproxy();
  const prefix = join(dir, "haproxy");
  await mkdir(prefix);
  const bundle = (kind: "rsa" | "ecdsa") => join(prefix, `${kind}.pem`);
  for (const kind of ["rsa", "ecdsa"] as const) {
    await copyFile(certificateFile(dir, kind), bundle(kind));
    await writeFile(bundle(kind), await readFile(keyFile(dir, kind)), { flag: "a" });
  }
  const file = join(prefix, "haproxy.cfg");
  await writeFile(file, haproxyConfig(ports, upstream, bundle));
  const command = 'exec "$0" -db -f "$1" > "$2"';
  return new Program("sh", ["-c", command, tool.path, file, join(prefix, "access.log")], { env: tool.env });
}

/**
 * A native proxy of another tree of the repository, with that tree's control plane; `name` tells it from others. `dir` is that of its peers.
 */
export async function startTree(name: string, root: string, upstream: UpstreamPorts, dir: string): Promise<Tree> {
  const path = join(root, "control-plane/cli/sluice");
  const plane = await ControlPlane.start(join(dir, `${name}-data`), { path });
  const ports = await freePorts();
  const file = join(dir, `${name}.yaml`);
  await writeFile(file, gatewayFile({ [name]: ports }, upstream, dir));
  const applied = await plane.sluice("apply", "-f", file);
  if (applied.code !== 0) throw new Error(applied.stderr);
  const { program } = await startProxy(plane.xdsPort, { group: name, workers: 1, path });
  await waitUntilAnswers(name, ports.plain);
  return {
    target: { name, ports, pid: program.pid },
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

/** fastify needs its time for a thousand routes. */
const START_MS_MAX = 60_000;

const waitUntilAnswers = (name: string, port: number) =>
  waitFor(
    `${name} to answer`,
    async () => (await ask(port, { path: "/api/v3/items/small", headers: { host: host(7) } })).status === 200,
    START_MS_MAX,
  );

/** The native proxy and Envoy get the same resources from one control plane. */
async function startGateways(
  names: readonly PeerName[],
  dir: string,
  upstream: UpstreamPorts,
  programs: Program[],
): Promise<Target[]> {
  if (!names.includes("native") && !names.includes("envoy")) return [];
  const plane = await ControlPlane.start(join(dir, "data"));
  programs.push(plane.program);
  const ports = { native: await freePorts(), envoy: await freePorts() };
  const file = join(dir, "gateway.yaml");
  await writeFile(file, gatewayFile(ports, upstream, dir));
  const applied = await plane.sluice("apply", "-f", file);
  if (applied.code !== 0) throw new Error(applied.stderr);
  const targets: Target[] = [];
  if (names.includes("native")) {
    const { program } = await startProxy(plane.xdsPort, { group: "native", workers: 1 });
    programs.push(program);
    targets.push({ name: "native", ports: ports.native, pid: program.pid });
  }
  if (names.includes("envoy")) {
    const { program } = await startEnvoy(await envoy(), plane.xdsPort, { group: "envoy" });
    programs.push(program);
    targets.push({ name: "envoy", ports: ports.envoy, pid: program.pid });
  }
  return targets;
}
