import net from "node:net";

import { pathOf, SERVER_NAME } from "./cases.ts";
import { residentMb } from "./cpu.ts";
import { table } from "./table.ts";
import type { Target } from "./target.ts";

const CONNECTIONS = 10_000;
/** Connections that are made and asked at once. */
const AT_ONCE = 100;

const REQUEST = `GET ${pathOf(3, { answer: "small" })} HTTP/1.1\r\nHost: ${SERVER_NAME}\r\n\r\n`;

/** Resident memory with 10,000 connections that have each been answered once and are kept. Returns a table. */
export async function benchIdle(targets: readonly Target[]): Promise<string> {
  const rows: string[][] = [];
  for (const { name, ports, pid } of targets) {
    const before = residentMb(pid);
    const sockets: net.Socket[] = [];
    try {
      while (sockets.length < CONNECTIONS) {
        const opened = await Promise.all(Array.from({ length: AT_ONCE }, () => answeredOnce(ports.plain)));
        sockets.push(...opened);
      }
      const after = residentMb(pid);
      const closed = sockets.filter((socket) => socket.destroyed).length;
      if (closed > 0) throw new Error(`${name} closed ${closed} idle connections`);
      const kb = ((after - before) * 1024) / CONNECTIONS;
      rows.push([name, before.toFixed(0), after.toFixed(0), kb.toFixed(1)]);
    } finally {
      for (const socket of sockets) socket.destroy();
    }
  }
  return table(["proxy", "MB before", "MB with 10,000 idle connections", "kB each"], rows);
}

function answeredOnce(port: number): Promise<net.Socket> {
  return new Promise((resolve, reject) => {
    const socket = net.connect({ port, host: "127.0.0.1" }, () => socket.write(REQUEST));
    socket.once("error", reject);
    socket.once("data", (bytes) => {
      if (!bytes.toString("latin1").startsWith("HTTP/1.1 200 ")) reject(new Error(bytes.toString("latin1")));
      socket.once("close", () => socket.destroy());
      resolve(socket);
    });
  });
}
