/** What two data planes answer while a registry changes, and what operators see of it meanwhile. */
import type { DataPlanes } from "./data-planes.ts";
import { ask } from "./http.ts";
import type { Echo } from "./upstream.ts";
import { waitFor } from "./wait.ts";

/** Machines may be busy; that there is no such name holds for 30 s in DNS. */
const PATIENCE_MS = 90_000;

interface Requests {
  readonly host?: string;
  readonly path?: string;
  readonly requests?: number;
}

/** How often each back end answers some requests in a row; another status than 200 counts by its number. */
export async function sharesOn(port: number, requests: Requests = {}): Promise<Map<string, number>> {
  const { host = "a.test", path = "/", requests: count = 12 } = requests;
  const shares = new Map<string, number>();
  for (let at = 0; at < count; at++) {
    const { status, body } = await ask(port, { path, headers: { host } });
    const name = status === 200 ? (JSON.parse(body) as Echo).upstream : String(status);
    shares.set(name, (shares.get(name) ?? 0) + 1);
  }
  return shares;
}

/** Waits until just these back ends answer on both data planes: "one,two". If they never do, the error says what each part of the way knows. */
export async function bothAnswer(
  { native, envoy, control }: DataPlanes,
  names: string,
  requests: Requests = {},
): Promise<void> {
  const look = async () => {
    const both = await Promise.all([native, envoy].map(({ port }) => sharesOn(port, requests)));
    const [onNative, onEnvoy] = both.map((shares) => [...shares.keys()].sort().join());
    if (onNative === names && onEnvoy === names) return true;
    throw new Error(`native ${onNative}, Envoy ${onEnvoy}`);
  };
  try {
    await waitFor(`${names} to answer`, look, PATIENCE_MS);
  } catch (error) {
    const { stdout, stderr } = await control.sluice("discovery", "services");
    const { body } = await ask(envoy.adminPort, { path: "/clusters" });
    throw new Error(`${names} didn't answer; discovery has:\n${stdout}${stderr}\nEnvoy has:\n${body}`, {
      cause: error,
    });
  }
}

interface Shown {
  /** How many services are to be in this state; default: one in each gateway group. */
  readonly services?: number;
  /** What is to be said besides. */
  readonly words?: RegExp;
}

/**
 * Waits until `sluice discovery services` shows services in this state. @returns after how long, in ms: within 10 s where nothing else takes
 * the machine's time (the supervisor's own test has that by its clock)
 */
export async function shown(
  { control }: DataPlanes,
  state: string,
  { services = 2, words = / / }: Shown = {},
): Promise<number> {
  const startMs = performance.now();
  await waitFor(
    `${state} to be shown`,
    async () => {
      const { stdout, stderr } = await control.sluice("discovery", "services");
      const found = stdout.match(new RegExp(` ${state} `, "g"))?.length ?? 0;
      if (found === services && stdout.search(words) !== -1) return true;
      throw new Error(stdout + stderr);
    },
    PATIENCE_MS,
  );
  return performance.now() - startMs;
}
