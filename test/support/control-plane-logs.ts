import { readFile, writeFile } from "node:fs/promises";

import { ask } from "./http.ts";
import type { startSecurePlane } from "./secure-plane.ts";
import { waitFor } from "./wait.ts";

type Secure = Awaited<ReturnType<typeof startSecurePlane>>;

const WAIT_MS_MAX = 60_000;

/** Has the data planes of a secure plane log to it. What is written to standard output is one log line per entry. */
export async function logToControlPlane({ plane, file }: Secure): Promise<void> {
  const gateway = await readFile(file("gateway.yaml"), "utf8");
  const logged = gateway.replace(
    "    listeners:",
    "    accessLog: { collector: control-plane, logName: edge }\n    listeners:",
  );
  await writeFile(file("gateway.yaml"), logged);
  const applied = await plane.sluice("apply", "-f", file("gateway.yaml"));
  if (applied.code !== 0) throw new Error(applied.stderr);
}

/** Asks for the path until a line tells of it, as the node's, and gives that line. */
export async function loggedLine({ plane, port }: Secure, nodeId: string, path: string): Promise<object> {
  let found: object | undefined;
  await waitFor(
    `a line of ${nodeId}`,
    async () => {
      // Again and again: a stream that was cut off loses what is under way on it.
      await ask(port, { path });
      found = plane.program.stdout
        .split("\n")
        .filter((line) => line.startsWith("{"))
        .map((line) => JSON.parse(line) as { node_id?: string; request?: { path?: string } })
        .find((line) => line.node_id === nodeId && line.request?.path === path);
      return found !== undefined;
    },
    WAIT_MS_MAX,
  );
  return found ?? {};
}
