import { mkdtemp, rename, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { afterEach, beforeEach, expect, test, vi } from "vitest";

import { EndpointHealth, type ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

import { waitFor } from "../../test/support/wait.ts";
import { startWatching } from "../../test/support/watching.ts";
import { RegistrySupervisor } from "../supervise.ts";
import { serviceKey } from "../testing/scripted-source.ts";
import { parseServices } from "./parse.ts";
import { FileSource } from "./source.ts";

let dir: string;
let file: string;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "sluice-file-"));
  file = join(dir, "services.yaml");
});

afterEach(async () => {
  await rm(dir, { recursive: true });
});

test("an endpoint has an address and a port, and what else is known", () => {
  const services = parseServices(
    "s.yaml",
    "services: { orders: [{ address: 10.0.0.1, port: 80, weight: 0, zone: a, health: draining, tags: [v2], metadata: { n: 1 } }], none: [] }",
  );
  expect(services.get("orders")).toMatchObject([
    {
      address: "10.0.0.1",
      port: 80,
      weight: 0,
      zone: "a",
      health: EndpointHealth.DRAINING,
      tags: ["v2"],
      metadata: { n: "1" },
    },
  ]);
  expect(services.get("none")).toEqual([]);
});

test.each([
  ["services:\n  a:\n    - { address: host, port: 80 }", "s.yaml:3:18: address must be an IP address"],
  ["services:\n  a:\n    - { address: 10.0.0.1 }", "s.yaml:3:7: port must be a whole number from 1 to 65535"],
  ["services:\n  a:\n    - { adress: 10.0.0.1 }", "s.yaml:3:9: an endpoint knows no adress"],
  ["services: [", "s.yaml:1:12: "],
  ["", "s.yaml:1:1: the file must be a map"],
])("%j is refused by its place", (text, message) => {
  expect(() => parseServices("s.yaml", text)).toThrow(message);
});

test("a file that is replaced is read again; a broken one keeps what was good, and says where it is broken", async () => {
  const replace = async (text: string) => {
    await writeFile(`${file}.new`, text);
    await rename(`${file}.new`, file);
  };
  await replace("services: { orders: [{ address: 10.0.0.1, port: 80 }] }");
  let last: ServiceSnapshot | undefined;
  const supervisor = new RegistrySupervisor({
    ...{ source: new FileSource(file), holdEmptyMs: 60_000 },
    events: { changed: (_, served) => (last = served.decode()) },
  });
  try {
    const key = serviceKey("orders");
    await supervisor.add(key);
    expect(last?.endpoints).toMatchObject([{ address: "10.0.0.1" }]);
    await replace("services: { orders: [{ address: 10.0.0.2, port: 80 }] }");
    await waitFor("the change", () => last?.endpoints[0]?.address === "10.0.0.2");
    await replace("services: { orders: [{ address: 10.0.0.3, port: x }] }");
    await waitFor("the problem", () => supervisor.report(key)?.problem?.message.includes("services.yaml:1:49"));
    const { state, served } = supervisor.report(key) ?? {};
    expect(state).toBe("stale");
    expect(served?.decode().endpoints).toMatchObject([{ address: "10.0.0.2" }]);
  } finally {
    await supervisor.close();
  }
});

test("a file that is written in place is read once it is whole, also where half of it would do", async () => {
  const half = "services:\n  orders:\n    - { address: 10.0.0.1, port: 80 }\n";
  await writeFile(file, `${half}    - { address: 10.0.0.2, port: 80 }\n`);
  const source = new FileSource(file);
  vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
  try {
    const names = async () => (await source.list()).map(({ key }) => key.service);
    // Until it is read for the first time it may grow as well: it was written just now.
    const settle = async <Value>(reading: Promise<Value>): Promise<Value> => {
      let isDone = false;
      const done = reading.finally(() => (isDone = true));
      done.catch(() => undefined);
      while (!isDone) await vi.advanceTimersByTimeAsync(100);
      return await done;
    };
    expect(await settle(names())).toEqual(["orders"]);
    await writeFile(file, half);
    const reading = names();
    // Time stands still for it, however long this takes.
    for (let turn = 0; turn < 100; turn++) await stat(file);
    await writeFile(file, `${half}  carts: []\n`);
    expect(await settle(reading)).toEqual(["carts", "orders"]);
  } finally {
    vi.useRealTimers();
    await source.close();
  }
});

test("a broken file is read once, however many services are watched, and again when it may be read", async () => {
  await writeFile(file, "services: [");
  const source = new FileSource(file);
  try {
    const failure = async () => await source.list().catch((error: unknown) => error);
    const first = await failure();
    expect(first).toMatchObject({ kind: "bad_answer" });
    // The very same: what was made of the file is remembered.
    expect(await failure()).toBe(first);
    await writeFile(`${file}.new`, "services: { orders: [] }");
    await rename(`${file}.new`, file);
    expect(await source.list()).toMatchObject([{ key: { service: "orders" } }]);
  } finally {
    await source.close();
  }
});

test("whoever has failed learns of it when the file is another: mended, broken otherwise, or gone", async () => {
  await writeFile(file, "services: [");
  const source = new FileSource(file);
  let told = 0;
  source.onMended(() => told++);
  try {
    const watching = startWatching(source, { service: "orders" });
    await waitFor("the failure", () => watching.error !== undefined);
    const steps = [
      async () => await writeFile(file, "services: {"),
      async () => await rm(file),
      async () => await writeFile(file, "services: { orders: [] }"),
    ];
    for (const step of steps) {
      const before = told;
      await step();
      await waitFor("the word of it", () => told > before);
    }
  } finally {
    await source.close();
  }
});
