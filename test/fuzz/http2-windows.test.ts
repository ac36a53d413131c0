/**
 * Fuzzing of flow control. Client and origin keep the books of every window by themselves while bodies go both ways, in frames of any size, with padding, through small windows that change, past pauses and resets: nobody is
 * sent more than he allowed, nobody gets back more than he sent or less, and every byte arrives.
 *
 * SLUICE_FUZZ_WINDOWS=10000 SLUICE_FUZZ_SEED=7 vitest run --config test/vitest.config.ts test/fuzz/http2-windows
 */
import { connect, type Socket } from "node:net";

import fc from "fast-check";
import { afterAll, beforeAll, expect, test } from "vitest";

import { http2Defaults } from "../../proxy/cluster/http2-options.ts";
import { HpackDecoder } from "../../proxy/hpack/decoder.ts";
import { edgeDefaults } from "../../proxy/http2/options.ts";
import { clusterOf, DataPath, endpointAt, TestServer } from "../support/data-path.ts";
import { until } from "../support/wait.ts";
import * as h2 from "../support/http2-frames.ts";
import { type Manner, WindowPeer } from "./http2-window-peer.ts";

const CASES = Number(process.env["SLUICE_FUZZ_WINDOWS"] ?? 100);
const SEED = Number(process.env["SLUICE_FUZZ_SEED"] ?? 20261121);
const TIMEOUT_MS = 3_600_000;

/** The least that there can be, so that bodies of some 100 kB wait many times. */
const WINDOW = 65_535;
const NO_ERROR = 0;

/** One request: bytes of both bodies, and whether the response waits for the end of the request. */
interface Exchange {
  readonly up: number;
  readonly down: number;
  readonly waits: boolean;
  /** Whether the client gives it up in the middle. */
  readonly reset: boolean;
}

class Client extends WindowPeer {
  readonly #exchanges: readonly Exchange[];

  constructor(port: number, manner: Manner, exchanges: readonly Exchange[]) {
    super(connect({ port, host: "127.0.0.1", noDelay: true }), manner, WINDOW);
    this.#exchanges = exchanges;
    this.socket.write(h2.PREFACE);
    this.begin();
    for (const [i, { up, down, waits }] of exchanges.entries()) {
      const id = 2 * i + 1;
      const path = `/${i}/${up}/${down}/${waits}`;
      const fields = h2.fields([":method", "POST"], [":scheme", "http"], [":path", path], [":authority", "a"]);
      this.write(h2.HEADERS, h2.END_HEADERS, id, fields);
      this.open(id, i, up);
    }
    this.move();
  }

  protected override onHead(id: number, _block: Buffer, end: boolean): void {
    const stream = this.streams.get(id);
    if (stream !== undefined && end) stream.receivedEnd = true;
  }

  /** What arrived is all of it. */
  check(): void {
    for (const [i, { down, reset }] of this.#exchanges.entries()) {
      const stream = this.streams.get(2 * i + 1);
      if (!reset && stream?.received !== down)
        this.faults.push(`${stream?.received} bytes of ${down} on stream ${2 * i + 1}`);
    }
  }

  close(): void {
    this.socket.destroy();
  }
}

class Origin extends WindowPeer {
  readonly #decoder = new HpackDecoder(4_096, { listBytes: 10_000, fields: 100 });
  readonly #expected = new Map<number, { up: number; waits: boolean }>();
  #skipped = false;

  constructor(socket: Socket, manner: Manner) {
    super(socket, manner, WINDOW);
    this.begin();
  }

  protected override skip(bytes: Buffer): number {
    if (this.#skipped) return 0;
    if (bytes.length < h2.PREFACE.length) return -1;
    this.#skipped = true;
    return h2.PREFACE.length;
  }

  protected override onHead(id: number, block: Buffer, end: boolean): void {
    const fields: string[] = [];
    this.#decoder.decode(block, 0, block.length, fields);
    const [, key, up, down, waits] = (fields[fields.indexOf(":path") + 1] ?? "").split("/");
    this.#expected.set(id, { up: Number(up), waits: waits === "true" });
    this.write(h2.HEADERS, h2.END_HEADERS, id, h2.fields([":status", "200"]));
    const stream = this.open(id, Number(key), Number(down));
    stream.receivedEnd = end;
    stream.mayEnd = end || waits !== "true";
  }

  override move(): void {
    for (const stream of this.streams.values()) if (stream.receivedEnd) stream.mayEnd = true;
    super.move();
  }

  /** The client gave up, or has the response already; who waited for the request must have had all of it. */
  protected override onReset(id: number, code: number): void {
    const stream = this.streams.get(id);
    if (code === NO_ERROR && stream?.sentEnd !== true) this.faults.push(`stream ${id} was told to stop`);
  }

  check(): void {
    for (const [id, { up, waits }] of this.#expected) {
      const stream = this.streams.get(id);
      if (waits && stream?.reset === false && stream.received !== up)
        this.faults.push(`${stream.received} bytes of ${up}`);
    }
  }
}

const origins: Origin[] = [];
let originManner: Manner;
let server: TestServer;
let path: DataPath;

beforeAll(async () => {
  server = await TestServer.raw((socket) => void origins.push(new Origin(socket, originManner)));
  const http2 = { ...edgeDefaults, streamWindowBytes: WINDOW, connectionWindowBytes: WINDOW };
  const upstream = { ...http2Defaults, initialStreamWindowSize: WINDOW, initialConnectionWindowSize: WINDOW };
  path = await DataPath.start({
    // Each case has connections and so books of its own, and as much time as it needs.
    cluster: clusterOf([endpointAt(server.port)], { protocol: "http2", http2: upstream, connectTimeoutMs: TIMEOUT_MS }),
    action: { timeoutMs: 0 },
    http: { http2 },
  });
});

afterAll(async () => {
  await path?.[Symbol.asyncDispose]();
  await server?.[Symbol.asyncDispose]();
});

const manners = fc.record<Manner>({
  windows: fc.array(fc.oneof(fc.nat(3), fc.nat(2_000), fc.nat(70_000), fc.constant(1_000_000)), {
    minLength: 1,
    maxLength: 4,
  }),
  connectionExtra: fc.oneof(fc.constant(0), fc.nat(100_000)),
  frames: fc.array(fc.oneof(fc.integer({ min: 1, max: 3 }), fc.integer({ min: 1_000, max: 16_000 })), {
    minLength: 3,
    maxLength: 6,
  }),
  padding: fc.array(fc.oneof(fc.constant(0), fc.nat(200)), { minLength: 1, maxLength: 4 }),
  updates: fc.array(fc.oneof(fc.constant(1), fc.integer({ min: 3_000, max: 100_000 })), { minLength: 2, maxLength: 4 }),
});
const sizes = fc.oneof(fc.nat(3), fc.nat(3_000), fc.nat(200_000));
const exchanges = fc.record<Exchange>({
  up: sizes,
  down: sizes,
  waits: fc.boolean(),
  reset: fc.integer({ min: 0, max: 4 }).map((n) => n === 0),
});

test("no window is overdrawn or lost, and every byte arrives", { timeout: TIMEOUT_MS }, async () => {
  await fc.assert(
    fc.asyncProperty(
      manners,
      manners,
      fc.array(exchanges, { minLength: 1, maxLength: 6 }),
      fc.array(fc.nat(5), { maxLength: 20 }),
      async (clientManner, manner, all, events) => {
        originManner = usable(manner);
        origins.length = 0;
        const client = new Client(path.port, usable(clientManner), all);
        try {
          await until(() => origins.length > 0);
          await play(client, events, all);
        } finally {
          client.close();
          for (const socket of server.sockets) socket.destroy();
        }
        await until(() => path.stats.get("downstream_cx_active") === 0 && path.stats.get("upstream_cx_active") === 0);
        expect(path.stats.get("http2.pending_send_bytes")).toBe(0);
        expect(path.stats.get("cluster.http2.pending_send_bytes")).toBe(0);
        expect(path.stats.get("http2.streams_active")).toBe(0);
        expect(path.stats.get("cluster.http2.streams_active")).toBe(0);
        path.records.length = 0;
      },
    ),
    { numRuns: CASES, seed: SEED },
  );
});

/** Windows that open again, and not everything byte by byte: one that stays shut stops everything, as it should. */
const usable = (manner: Manner): Manner => ({
  ...manner,
  windows: [...manner.windows, 20_000],
  frames: [...manner.frames, 16_000],
  updates: [...manner.updates, 100_000],
});

/** Lets both move on until all is over, with something happening now and then. */
async function play(client: Client, events: readonly number[], all: readonly Exchange[]): Promise<void> {
  const peers = (): WindowPeer[] => [client, ...origins];
  const over = () => peers().every((peer) => peer.isDone && !peer.paused) && events.length <= turn;
  let turn = 0;
  const timer = setInterval(() => {
    const event = events[turn++];
    for (const peer of peers()) peer.move();
    if (event === 0) client.paused = true;
    if (event === 1) for (const origin of origins) origin.paused = true;
    if (event === 2 || event === 3) for (const peer of peers()) peer.changeWindows();
    if (event === 4) for (const [i, { reset }] of all.entries()) if (reset) client.reset(2 * i + 1);
    if (event === undefined || event === 5) for (const peer of peers()) peer.paused = false;
    if (event !== undefined) return;
    // Until the last of its sizes holds, which is one that suffices.
    for (const peer of peers()) peer.openWindows();
    for (const [i, { reset }] of all.entries()) if (reset) client.reset(2 * i + 1);
  }, 1);
  try {
    await until(() => over() || peers().some(({ faults }) => faults.length > 0));
    client.check();
    for (const origin of origins) origin.check();
    // At half of a window what was taken is given back; nothing else is under way any more.
    await until(() => peers().every(({ unreturned, faults }) => unreturned <= WINDOW / 2 || faults.length > 0));
  } finally {
    clearInterval(timer);
  }
  expect(peers().flatMap(({ faults }) => faults)).toEqual([]);
}
