/** Asks for /healthz again and again from a thread of its own, and says how long that took at most when it is told to stop. */
import { setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";

import { ask } from "../support/http.ts";

const port = workerData as number;
let going = true;
parentPort?.once("message", () => {
  going = false;
});
let maxMs = 0;
while (going) {
  const askedMs = performance.now();
  await ask(port, { path: "/healthz" });
  maxMs = Math.max(maxMs, performance.now() - askedMs);
  await sleep(2);
}
parentPort?.postMessage(maxMs);
