/** Preloaded into a proxy under test (NODE_OPTIONS=--import=…): at SIGUSR2 the worker thread that is there longest crashes. */
import { BroadcastChannel, isMainThread, threadId } from "node:worker_threads";

const channel = new BroadcastChannel("sluice-test-kill");
channel.unref();
if (isMainThread) {
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
