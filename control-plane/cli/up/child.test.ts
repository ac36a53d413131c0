/** Programs kept running, and what is asked of them at the wrong moment. */
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { expect, test } from "vitest";

import { waitFor } from "../../../test/support/wait.ts";
import { Child } from "./child.ts";

/** Says where it listens when it is told to begin; counts what it is asked then. */
const program = `
process.once("message", () => {
  let count = 0;
  process.on("SIGHUP", () => process.send({ kind: "ready", addresses: { restarts: String(++count) } }));
  process.send({ kind: "ready", addresses: { restarts: "0" } });
});
`;

test("a program that is asked to restart while it starts goes on starting", async () => {
  const dir = await mkdtemp(join(tmpdir(), "sluice-child-"));
  const main = join(dir, "main.mjs");
  await writeFile(main, program);
  const told: string[] = [];
  const child = new Child({ name: "program", args: [], env: process.env, stopMsMax: 60_000 }, main, {
    restarting: (_, reason) => told.push(reason),
    restarted: () => told.push("it runs again"),
  });
  child.restart();
  child.begin({ kind: "start", xds: "" });
  expect(await child.ready).toEqual({ restarts: "0" });
  expect(told).toEqual([]);
  child.restart();
  // It says so by being ready once more.
  await waitFor("the restart", () => told.includes("it runs again"));
  await child.stop();
  await rm(dir, { recursive: true });
});
