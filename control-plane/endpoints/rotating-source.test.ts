import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { create } from "@bufbuild/protobuf";
import { afterEach, beforeEach, expect, test } from "vitest";

import type { ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";
import { ConsulRegistrySchema, RegistrySchema } from "#sluice/model/v1/registry_pb.ts";
import { SecretValueSchema } from "#sluice/model/v1/secret_pb.ts";

import { ScriptedSource, serviceKey, snapshotOf } from "../../discovery/testing/scripted-source.ts";
import { waitFor } from "../../test/support/wait.ts";
import { RotatingSource } from "./rotating-source.ts";

let dir: string;
let file: string;
let opened: ScriptedSource[];
let source: RotatingSource;
const signal = new AbortController().signal;

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), "sluice-rotating-"));
  file = join(dir, "token");
  opened = [];
  const token = create(SecretValueSchema, { source: { case: "file", value: file } });
  const consul = create(ConsulRegistrySchema, { addresses: ["http://127.0.0.1:1"], token });
  const registry = create(RegistrySchema, { name: "r", kind: { case: "consul", value: consul } });
  source = new RotatingSource(registry, () => {
    const made = new ScriptedSource();
    opened.push(made);
    return made;
  });
});

afterEach(async () => {
  await source.close();
  await rm(dir, { recursive: true });
});

test("a secret that isn't there is told each time, until it is", async () => {
  await expect(source.probe(signal)).rejects.toThrow(/consul\.token.*ENOENT/);
  await expect(source.list(signal)).rejects.toMatchObject({ kind: "bad_settings" });
  await writeFile(file, "one\n");
  expect(await source.probe(signal)).toMatchObject({ version: "test 1" });
  expect(opened).toHaveLength(1);
});

test("a watch goes on over another token, and what comes then is doubted if it is empty", async () => {
  await writeFile(file, "one\n");
  const end = new AbortController();
  const seen: ServiceSnapshot[] = [];
  const watching = (async () => {
    for await (const snapshot of source.watch(serviceKey("orders"), end.signal)) seen.push(snapshot);
  })();
  await waitFor("the watch", () => opened[0]?.open === 1);
  opened[0]?.say("orders", { snapshot: snapshotOf("orders", ["10.0.0.1"]) });
  await waitFor("its answer", () => seen.length === 1);

  await source.probe(signal);
  await writeFile(file, "one \n");
  await source.probe(signal);
  await rm(file);
  await source.probe(signal);
  expect(opened).toHaveLength(1);

  await writeFile(file, "two");
  await source.probe(signal);
  await waitFor("the watch with the other token", () => opened[1]?.open === 1);
  expect(opened[0]).toMatchObject({ open: 0, closed: true });
  opened[1]?.say("orders", { snapshot: snapshotOf("orders", []) });
  opened[1]?.say("orders", { snapshot: snapshotOf("orders", ["10.0.0.2"]) });
  await waitFor("its answers", () => seen.length === 3);
  expect(seen.map(({ discontinuous }) => discontinuous)).toEqual([false, true, false]);
  end.abort();
  await watching;
});
