/**
 * Preloaded into a proxy under test (NODE_OPTIONS=--import=…): at SIGUSR2 the worker thread that is there longest crashes; a process that starts
 * while there is a file SLUICE_TEST_STILLBORN ends at once.
 */
import { existsSync } from "node:fs";
import { BroadcastChannel, isMainThread, threadId } from "node:worker_threads";

const channel = new BroadcastChannel("sluice-test-kill");
channel.unref();
if (isMainThread) {
  if (existsSync(process.env["SLUICE_TEST_STILLBORN"] ?? "")) process.kill(process.pid, "SIGKILL");
  const workers: number[] = [];
  channel.onmessage = (event) => {
    workers.push((event as { data: number }).data);
  };
  process.on("SIGUSR2", () => channel.postMessage(workers.shift()));
} else {
  channel.onmessage = (event) => {
    if ((event as { data: number }).data === threadId) throw new Error("killed by the test");
  };
  channel.postMessage(threadId);
}
