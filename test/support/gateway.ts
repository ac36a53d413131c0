import { mkdtemp, readFile, rm } from "node:fs/promises";
import http from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { ask } from "./http.ts";
import { freePort } from "./ports.ts";
import { Program, run, sluicePath } from "./processes.ts";
import { waitFor } from "./wait.ts";

/** The gateway file of the README's tour. */
export const exampleFile = join(import.meta.dirname, "../../deploy/examples/gateway.yaml");

/** The example with its ports replaced, so that tests run side by side. */
export async function exampleGateway(ports: Record<number, number>): Promise<string> {
  const text = await readFile(exampleFile, "utf8");
  return text.replace(/\bport: (\d+)/g, (whole, port: string) => {
    const other = ports[Number(port)];
    return other === undefined ? whole : `port: ${other}`;
  });
}

export async function temporaryDir(): Promise<{ path: string; remove(): Promise<void> }> {
  const path = await mkdtemp(join(tmpdir(), "sluice-test-"));
  // A program that has just been ended may have had a thread that was making a file.
  return { path, remove: () => rm(path, { recursive: true, force: true, maxRetries: 10 }) };
}

/** A running `sluice control-plane`. */
export class ControlPlane {
  readonly program: Program;
  readonly data: string;
  readonly adminPort: number;
  readonly xdsPort: number;
  readonly #path: string;

  private constructor(program: Program, data: string, adminPort: number, xdsPort: number, path: string) {
    this.#path = path;
    this.program = program;
    this.data = data;
    this.adminPort = adminPort;
    this.xdsPort = xdsPort;
  }

  static async start(
    data: string,
    more: {
      adminPort?: number;
      xdsPort?: number;
      args?: string[];
      path?: string;
      env?: Record<string, string>;
    } = {},
  ): Promise<ControlPlane> {
    const adminPort = more.adminPort ?? (await freePort());
    const xdsPort = more.xdsPort ?? (await freePort());
    const path = more.path ?? sluicePath;
    const args = [
      "control-plane",
      ...["--data", data],
      ...["--admin", `127.0.0.1:${adminPort}`],
      ...["--xds", `127.0.0.1:${xdsPort}`],
      ...(more.args ?? []),
    ];
    const program = new Program(path, args, { env: more.env ?? {} });
    const started = new ControlPlane(program, data, adminPort, xdsPort, path);
    await waitUntilUp(program, adminPort, "/healthz");
    return started;
  }

  /** The administrator token. */
  async token(): Promise<string> {
    return (await readFile(join(this.data, "admin-token"), "utf8")).trim();
  }

  /** Calls a method of the admin API ("ServiceService/UpdateService") with JSON; throws unless it answers 200. */
  async call(method: string, message: object): Promise<unknown> {
    const headers = { "content-type": "application/json", authorization: `Bearer ${await this.token()}` };
    const path = `/sluice.admin.v1.${method}`;
    // On a connection of its own: one that is kept may be closed by the server while the request is on its way.
    const request = { method: "POST", path, headers, body: JSON.stringify(message), agent: new http.Agent() };
    const answer = await ask(this.adminPort, request);
    if (answer.status !== 200) throw new Error(`${method}: ${answer.status} ${answer.body}`);
    return JSON.parse(answer.body);
  }

  /** Runs a `sluice` command against it, whose calls may take as long as a machine that does other things besides makes them. */
  async sluice(...args: string[]): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const server = `http://127.0.0.1:${this.adminPort}`;
    return await run(this.#path, args, {
      env: { SLUICE_SERVER: server, SLUICE_TOKEN: await this.token(), SLUICE_TIMEOUT: "60s" },
    });
  }
}

/** Starts a native proxy and waits until it is ready. `data`: its own data directory if it is to outlive the program; by default it does not. */
export async function startProxy(
  xdsPort: number,
  {
    group = "default",
    nodeId = "px-1",
    data,
    workers = 1,
    path = sluicePath,
    args = [],
    env = {},
  }: {
    group?: string;
    nodeId?: string;
    data?: string;
    workers?: number;
    path?: string;
    args?: readonly string[];
    env?: Record<string, string>;
  } = {},
): Promise<{ program: Program; adminPort: number }> {
  const adminPort = await freePort();
  // None that is shared: a proxy whose control plane takes long starts with the configuration that it had there before.
  const own = data === undefined ? await temporaryDir() : undefined;
  const all = [
    "proxy",
    ...["--xds", `127.0.0.1:${xdsPort}`],
    ...["--group", group],
    ...["--node-id", nodeId],
    ...["--admin", `127.0.0.1:${adminPort}`],
    ...["--workers", String(workers)],
    ...["--data", data ?? own?.path ?? ""],
    ...args,
  ];
  const program = new Program(path, all, { env });
  program.child.once("exit", () => void own?.remove());
  await waitUntilUp(program, adminPort, "/ready");
  return { program, adminPort };
}

/** Starts a real Envoy from `sluice bootstrap envoy` and waits until it is ready. */
export async function startEnvoy(
  envoyPath: string,
  xdsPort: number,
  {
    group = "default",
    nodeId = "envoy-1",
    args = [],
    edit = (bootstrap) => bootstrap,
  }: {
    group?: string;
    nodeId?: string;
    args?: readonly string[];
    /** Changes the bootstrap, a YAML document. */
    edit?: (bootstrap: string) => string;
  } = {},
): Promise<{ program: Program; adminPort: number }> {
  const adminPort = await freePort();
  const bootstrap = await run(sluicePath, [
    ...["bootstrap", "envoy"],
    ...["--group", group],
    ...["--node-id", nodeId],
    ...["--xds", `127.0.0.1:${xdsPort}`],
    ...["--admin", `127.0.0.1:${adminPort}`],
    ...args,
  ]);
  if (bootstrap.code !== 0) throw new Error(bootstrap.stderr);
  const program = new Program(envoyPath, [
    ...["--config-yaml", edit(bootstrap.stdout)],
    ...["--use-dynamic-base-id", "--concurrency", "1", "--log-level", "warn"],
  ]);
  await waitUntilUp(program, adminPort, "/ready");
  return { program, adminPort };
}

/** Long, since a machine that compiles everything for the first time, and does other things besides, takes long. */
const START_MS_MAX = 180_000;

/** Waits until a program's admin endpoint answers 200; one that doesn't come up is stopped, so that a failed test leaves nothing behind. */
async function waitUntilUp(program: Program, adminPort: number, path: string): Promise<void> {
  try {
    await waitFor(
      `${program.name} to be up`,
      async () => {
        if (program.exited) throw new Error(`it ended: ${program.stderr}`);
        const { status, body } = await ask(adminPort, { path });
        if (status !== 200) throw new Error(`${path}: ${status} ${body}; ${program.stderr}`);
        return true;
      },
      START_MS_MAX,
    );
  } catch (error) {
    await program.stop("SIGKILL");
    throw error;
  }
}
