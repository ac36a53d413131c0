/** Clients that are slow, rude or many: memory and sockets stay bounded, and nobody else notices. */
import { once } from "node:events";
import net from "node:net";

import { afterAll, beforeAll, expect, test } from "vitest";

import { BIG_BYTES } from "../support/hostile-origin.ts";
import { askRaw } from "../support/http.ts";
import { type ProxyRig, startProxyRig } from "../support/proxy-rig.ts";
import type { SteadyLoad } from "../support/steady-clients.ts";
import { startSteadyLoad } from "../support/steady-load.ts";
import { waitFor } from "../support/wait.ts";

const MIB = 1024 * 1024;
const IDLE_CONNECTIONS = 10_000;

let rig: ProxyRig;
let bystanders: SteadyLoad;

beforeAll(async () => {
  rig = await startProxyRig();
  bystanders = startSteadyLoad(rig.port, 2);
});

afterAll(async () => {
  await bystanders?.stop();
  await rig?.stop();
});

/** Opens connections and writes the same to each. */
async function connections(count: number, text = ""): Promise<net.Socket[]> {
  return await Promise.all(
    Array.from({ length: count }, async () => {
      const socket = net.connect(rig.port, "127.0.0.1");
      socket.on("error", () => {});
      await once(socket, "connect");
      socket.write(text, "latin1");
      return socket;
    }),
  );
}

const active = () => rig.stat("http.http.downstream_cx_active");
const bystandersOnly = () => waitFor("the connections to be gone", async () => (await active()) <= 2);

test("1,000 connections opened and closed leave nothing behind", async () => {
  // Each worker has listening sockets of its own.
  const started = async () => (await rig.stat("listener_manager.workers_started")) === 1;
  await waitFor("all workers to be there", started, 60_000);
  const before = await rig.openFiles();
  for (let i = 0; i < 10; i++) {
    const sockets = await connections(100);
    sockets.forEach((socket, at) => (at % 2 === 0 ? socket.resetAndDestroy() : socket.end()));
  }
  await bystandersOnly();
  await waitFor("the files to be closed", async () => (await rig.openFiles()) <= before + 8, 60_000);
});

test("sec 10 slow heads and bodies hold nobody up, and a slow head is given up", async () => {
  const heads = await connections(100, "GET /slow HTTP/1.1\r\nHost: a.test\r\nX-A: ");
  const bodies = await connections(100, "POST /slow HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100\r\n\r\n");
  await waitFor("all to be there", async () => (await active()) >= 200);
  const drip = setInterval(() => {
    for (const socket of [...heads, ...bodies]) socket.write("a");
  }, 100);
  try {
    const asked = bystanders.answered;
    await waitFor("others to be answered", () => bystanders.answered > asked + 100);
    // 100 bytes at this rate take as long as a head may: both have come to their end.
    await waitFor("slow heads to be refused", () =>
      heads.every((socket) => socket.readableLength > 0 || socket.closed),
    );
    for (const socket of heads) expect(socket.read()?.toString() ?? "").toMatch(/^HTTP\/1\.1 408 /);
    for (const socket of bodies) {
      let answer = "";
      await waitFor("a slow body to be answered", () => {
        answer += String(socket.read() ?? "");
        return answer.includes('"bodyLength":100');
      });
    }
  } finally {
    clearInterval(drip);
    for (const socket of [...heads, ...bodies]) socket.destroy();
  }
  await bystandersOnly();
});

test("sec 10 a reader that doesn't read costs its buffers and no more", async () => {
  const before = await rig.residentBytes();
  const sockets = await connections(20, "GET /big HTTP/1.1\r\nHost: bad.test\r\n\r\n");
  for (const socket of sockets) socket.pause();
  await waitFor("all bodies to be stuck", () => rig.hostile.blocked() === sockets.length);
  // 20 bodies of 64 MiB; what the kernel holds of them isn't ours.
  expect(((await rig.residentBytes()) - before) / MIB).toBeLessThan(128);
  const [patient, ...others] = sockets as [net.Socket, ...net.Socket[]];
  for (const socket of others) socket.destroy();
  let bytes = 0;
  patient.on("data", (piece: Buffer) => (bytes += piece.length)).resume();
  await waitFor("the whole body", () => bytes > BIG_BYTES);
  patient.destroy();
  expect(((await rig.residentBytes()) - before) / MIB).toBeLessThan(160);
  await bystandersOnly();
});

test("sec 10 10,000 connections cost less than 300 MB, and serve", async () => {
  const sockets: net.Socket[] = [];
  const get = "GET / HTTP/1.1\r\nHost: a.test\r\n\r\n";
  try {
    while (sockets.length < IDLE_CONNECTIONS) {
      const some = await connections(500, get);
      await Promise.all(some.map((socket) => once(socket, "readable")));
      sockets.push(...some);
    }
    expect(await active()).toBeGreaterThanOrEqual(IDLE_CONNECTIONS);
    expect((await rig.residentBytes()) / MIB).toBeLessThan(300);
    const last = sockets.at(-1) as net.Socket;
    last.read();
    last.write(get);
    await once(last, "readable");
    expect(String(last.read())).toMatch(/^HTTP\/1\.1 200 /);
  } finally {
    for (const socket of sockets) socket.destroy();
  }
  await bystandersOnly();
});

test("sec 10 header bombs are refused in bounded memory", async () => {
  const before = await rig.residentBytes();
  const bomb = `GET / HTTP/1.1\r\nHost: a.test\r\n${"X-A: aaaaaaaaaaaaaaaa\r\n".repeat(50_000)}`;
  for (let i = 0; i < 2; i++) {
    const answers = await Promise.all(Array.from({ length: 20 }, () => askRaw(rig.port, bomb)));
    // Whoever goes on sending may see a reset instead of the answer.
    for (const answer of answers) expect(answer).toMatch(/^(HTTP\/1\.1 431 |$)/);
  }
  expect(((await rig.residentBytes()) - before) / MIB).toBeLessThan(128);
  await bystandersOnly();
});

test("sec 10 clients that leave amid a request or a response are cleared away", async () => {
  const half = "POST /gone HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\nabc";
  const stalled = "GET /stall HTTP/1.1\r\nHost: bad.test\r\n\r\n";
  const silent = "GET /silence HTTP/1.1\r\nHost: bad.test\r\n\r\n";
  for (const text of [half, stalled, silent, "GET / HT"]) {
    const sockets = await connections(60, text);
    if (text === stalled) await Promise.all(sockets.map((socket) => once(socket, "readable")));
    if (text.startsWith(silent)) await waitFor("the requests to arrive", () => rig.hostile.open().length >= 60);
    sockets.forEach((socket, at) => (at % 2 === 0 ? socket.resetAndDestroy() : socket.destroy()));
    await bystandersOnly();
    await waitFor("their upstream connections to go", () => rig.hostile.open().length <= 4);
  }
});

test("nobody else noticed", async () => {
  await bystanders.stop();
  expect(bystanders.failures).toEqual([]);
  expect(bystanders.answered).toBeGreaterThan(0);
  expect(await rig.stat("server.worker_crashes")).toBe(0);
});
