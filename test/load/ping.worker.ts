/** Asks for /healthz again and again from a thread of its own once it says that it is ready, and says how long that took at most when it is told to stop. */
import { setTimeout as sleep } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";

import { ask } from "../support/http.ts";

const port = workerData as number;
/** The first ones compile what they run. */
const WARM_UP = 50;

let going = true;
parentPort?.once("message", () => {
  going = false;
});
for (let at = 0; at < WARM_UP; at++) await ask(port, { path: "/healthz" });
parentPort?.postMessage("ready");
let maxMs = 0;
while (going) {
  const askedMs = performance.now();
  await ask(port, { path: "/healthz" });
  maxMs = Math.max(maxMs, performance.now() - askedMs);
  await sleep(2);
}
parentPort?.postMessage(maxMs);
