import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";

import type { NativeHandle } from "./bind.ts";

const MIRROR = join(import.meta.dirname, "socket-mirror.ts");

/** Where the mirror finds the sockets: behind the standard streams and the channel. */
const FIRST_FD = 4;

/** How long the mirror may take, which is a program that has to start; on a machine whose cores are all taken that is seconds. */
const MIRROR_MS_MAX = 30_000;

/**
 * Opens sockets of this process a second time, as it were: a listening socket that somebody else closes goes on with all that waits in its queue for as
 * long as one handle is open. Node has no dup(), but sends handles between processes (SCM_RIGHTS), so a program that inherits them sends
 * them back. The handles are the caller's, in the order of the descriptors. Rejects, with nothing left open, if that program fails.
 */
export async function duplicate(descriptors: readonly number[]): Promise<NativeHandle[]> {
  if (descriptors.length === 0) return [];
  const mirror = spawn(process.execPath, [MIRROR, String(FIRST_FD), String(descriptors.length)], {
    stdio: ["ignore", "ignore", "inherit", "ipc", ...descriptors],
    // What is preloaded into this program is not meant for that one.
    env: { ...process.env, NODE_OPTIONS: "" },
  });
  const handles: NativeHandle[] = [];
  try {
    await received(mirror, handles, descriptors.length);
    return handles;
  } catch (error) {
    for (const handle of handles) handle.close();
    throw error;
  } finally {
    mirror.removeAllListeners("exit").kill("SIGKILL");
  }
}

function received(mirror: ChildProcess, handles: NativeHandle[], count: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const late = setTimeout(() => reject(new Error("sockets could not be duplicated in time")), MIRROR_MS_MAX);
    const settle = (error?: Error) => {
      clearTimeout(late);
      if (error === undefined) resolve();
      else reject(error);
    };
    mirror.on("message", (_index, handle) => {
      handles.push(handle as unknown as NativeHandle);
      if (handles.length === count) settle();
    });
    mirror.once("error", settle);
    mirror.once("exit", (code, signal) => settle(new Error(`sockets could not be duplicated: ${signal ?? code}`)));
  });
}
