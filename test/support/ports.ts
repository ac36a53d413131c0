import net from "node:net";

/**
 * Ports that tests name before somebody listens on them are taken from below those that the kernel gives out by itself (32768 and more on Linux): otherwise it may
 * give one to a connection or to a server on port 0 in between, or connect a client that tries a port on which nobody listens to itself.
 */
const FIRST = 10_100; // Above 10,080, which fetch() refuses.
const END = 32_000;
/** Processes that run at the same time choose from different ports as far as there are so many parts: the test runner numbers them from 1. */
const PARTS = 8;
const PART_SIZE = Math.floor((END - FIRST) / PARTS);
const part = Number(process.env["VITEST_POOL_ID"] ?? process.pid) % PARTS;
/** So many ports in a row that are taken are no chance. */
const TRIES_MAX = 1_000;

const given = new Set<number>();

/** A TCP port of 127.0.0.1 that nobody listens on now; each call gives another one. */
export async function freePort(): Promise<number> {
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const port = FIRST + part * PART_SIZE + Math.floor(Math.random() * PART_SIZE);
    if (given.has(port)) continue;
    given.add(port);
    if (await isFree(port)) return port;
  }
  throw new Error(`no free port in ${TRIES_MAX} tries`);
}

/** So many of them. */
export async function freePorts(count: number): Promise<number[]> {
  const ports: number[] = [];
  while (ports.length < count) ports.push(await freePort());
  return ports;
}

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = net.createServer().once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
