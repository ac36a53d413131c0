/** Asks at a fixed rate, whatever is answered: each request has its time, and what it waits for a free connection counts as well. */
import net from "node:net";
import { parentPort, workerData } from "node:worker_threads";

import type { OpenLoopWish } from "./open-loop.ts";

const { port, connections, perSecond, seconds, request, answerEnd } = workerData as OpenLoopWish;

const total = Math.floor(perSecond * seconds);
const latenciesMs = new Float64Array(total);
let due = 0;
let answered = 0;
let startedAt = 0;
/** When each connection's request was due; the idle ones are in `idle`. */
const dueAt = new Float64Array(connections);
const idle: number[] = [];
/** Due times of requests that wait for a connection. */
const waiting: number[] = [];
let taken = 0;

const fail = (message: string): never => {
  throw new Error(message);
};

const sockets = Array.from({ length: connections }, (_, index) => {
  const socket = net.connect({ port, host: "127.0.0.1", noDelay: true });
  let text = "";
  socket.setEncoding("latin1");
  socket.on("data", (more: string) => {
    text += more;
    if (!text.endsWith(answerEnd)) return;
    if (!text.startsWith("HTTP/1.1 200 ")) fail(`the answer was ${text}`);
    text = "";
    onAnswer(index);
  });
  socket.on("close", () => answered < total && fail("a connection was closed"));
  return socket;
});

function onAnswer(index: number): void {
  const now = performance.now();
  latenciesMs[answered++] = now - (dueAt[index] as number);
  if (answered === total) return finish();
  const next = waiting[taken];
  if (next === undefined) idle.push(index);
  else {
    taken++;
    send(index, next);
  }
}

function send(index: number, at: number): void {
  dueAt[index] = at;
  sockets[index]?.write(request, "latin1");
}

function tick(): void {
  const now = performance.now();
  while (due < total) {
    const at = startedAt + (due / perSecond) * 1000;
    if (at > now) break;
    due++;
    const index = idle.pop();
    if (index === undefined) waiting.push(at);
    else send(index, at);
  }
  // Not by a timer, which is 1 ms late and more: the thread spins.
  if (due < total) setImmediate(tick);
}

function finish(): void {
  for (const socket of sockets) socket.destroy();
  parentPort?.postMessage(latenciesMs.sort());
}

await Promise.all(
  sockets.map(
    (socket) => new Promise<void>((resolve, reject) => socket.once("connect", () => resolve()).once("error", reject)),
  ),
);
for (let index = 0; index < connections; index++) idle.push(index);
startedAt = performance.now();
tick();
