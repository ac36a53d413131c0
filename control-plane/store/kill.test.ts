/** `kill -9` of a process that writes: what it was told to be written is there afterwards, and nothing is half there. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

import { afterAll, beforeAll, expect, test } from "vitest";

import { startPostgres, type TestPostgres } from "../../test/support/postgres.ts";
import { openStore, type StoreLocation } from "./open.ts";

let postgres: TestPostgres;
beforeAll(async () => {
  postgres = await startPostgres();
});
afterAll(() => postgres.stop());

/** Writes pairs of services, four writers at once, and prints the name of each pair once its write is acknowledged. */
const writer = `
  import { create } from "@bufbuild/protobuf";
  import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";
  import { openStore } from "./control-plane/store/open.ts";
  const [place, round] = JSON.parse(process.env.WRITER);
  const store = await openStore(place, { warn: console.error });
  let next = 0;
  const service = (name) => ({ kind: "service", value: create(ServiceSchema, { name, gatewayGroup: "default" }) });
  await Promise.all([1, 2, 3, 4].map(async () => {
    for (;;) {
      const name = round + "-" + next++;
      const puts = [service(name + "-a"), service(name + "-b")];
      await store.write({ actor: "writer" }, () => ({ writes: { puts, deletes: [] }, result: undefined }));
      process.stdout.write(name + "\\n");
    }
  }));`;

/** Runs a writer until it has acknowledged `count` writes, kills it, and gives all that it acknowledged. */
async function writeAndKill(place: StoreLocation, round: number, count: number): Promise<string[]> {
  const child = spawn(
    process.execPath,
    ["--disable-warning=ExperimentalWarning", "--input-type=module", "-e", writer],
    {
      cwd: join(import.meta.dirname, "../.."),
      env: { ...process.env, WRITER: JSON.stringify([place, String(round)]) },
      stdio: ["ignore", "pipe", "inherit"],
    },
  );
  const closed = once(child, "close");
  const acknowledged: string[] = [];
  for await (const line of createInterface(child.stdout)) {
    acknowledged.push(line);
    if (acknowledged.length === count) child.kill("SIGKILL");
  }
  await closed;
  expect(child.signalCode).toBe("SIGKILL");
  return acknowledged;
}

test.each(["sqlite", "postgres"] as const)("%s loses no acknowledged write", { timeout: 900_000 }, async (kind) => {
  const dataDir = await mkdtemp(join(tmpdir(), "sluice-kill-"));
  const place = kind === "sqlite" ? { dataDir } : { dataDir, url: await postgres.createDatabase() };
  const acknowledged: string[] = [];
  for (const round of [1, 2, 3]) acknowledged.push(...(await writeAndKill(place, round, 100 * round)));

  const store = await openStore(place, { warn: () => {} });
  const { objects, revision } = await store.snapshot();
  const services = objects.flatMap(({ kind: each, value }) => (each === "service" ? [value] : []));
  const names = new Set(services.map(({ name }) => name));
  expect(acknowledged.filter((name) => !names.has(`${name}-a`) || !names.has(`${name}-b`))).toEqual([]);
  // Two services a write, and the first revision made the gateway group: no write is there in part or twice.
  expect(services.length).toBe(2 * (Number(revision) - 1));
  expect(acknowledged.length).toBeGreaterThanOrEqual(600);
  await store.close();
  await rm(dataDir, { recursive: true });
});
