import { writeFile } from "node:fs/promises";
import { join } from "node:path";

import { ControlPlane, startEnvoy, startProxy, temporaryDir } from "./gateway.ts";
import { ask } from "./http.ts";
import { freePort } from "./ports.ts";
import type { Program } from "./processes.ts";
import { envoy } from "./tools.ts";
import { waitFor } from "./wait.ts";

/** Where one data plane listens. */
export interface DataPlane {
  readonly port: number;
  readonly adminPort: number;
  readonly program: Program;
}

/** A control plane with the native proxy and a real Envoy behind it. */
export interface DataPlanes {
  readonly control: ControlPlane;
  readonly native: DataPlane;
  readonly envoy: DataPlane;
  /** Applies another gateway file. */
  apply(text: string): Promise<void>;
  stop(): Promise<void>;
}

/**
 * Starts both data planes on the same services. `gateway` gives the gateway file of a group: they are two groups, since on one machine two
 * data planes can't share a listener's port. Ready once both answer 200 to GET / with this host.
 */
export async function startDataPlanes(
  gateway: (group: "default" | "envoy", port: number) => string,
  host: string,
): Promise<DataPlanes> {
  const dir = await temporaryDir();
  const programs: Program[] = [];
  const stop = async () => {
    for (const program of programs.toReversed()) await program.stop();
    await dir.remove();
  };
  try {
    const control = await ControlPlane.start(join(dir.path, "data"));
    programs.push(control.program);
    const ports = { default: await freePort(), envoy: await freePort() };
    const apply = async (text: string) => {
      const file = join(dir.path, "gateway.yaml");
      await writeFile(file, text);
      const applied = await control.sluice("apply", "-f", file);
      if (applied.code !== 0) throw new Error(applied.stderr);
    };
    for (const group of ["default", "envoy"] as const) await apply(gateway(group, ports[group]));
    const native = await startProxy(control.xdsPort);
    programs.push(native.program);
    const theirs = await startEnvoy(await envoy(), control.xdsPort, { group: "envoy" });
    programs.push(theirs.program);
    for (const port of Object.values(ports)) {
      await waitFor(`traffic on ${port}`, async () => (await ask(port, { headers: { host } })).status === 200);
    }
    return {
      control,
      native: { ...native, port: ports.default },
      envoy: { ...theirs, port: ports.envoy },
      apply,
      stop,
    };
  } catch (error) {
    const printed = programs.map((program) => program.stdout + program.stderr).join("\n");
    await stop();
    throw new Error(`the data planes did not start:\n${printed}`, { cause: error });
  }
}
