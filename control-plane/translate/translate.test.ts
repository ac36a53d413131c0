/**
 * Golden test of the whole translation: each testdata/NAME.in.yaml is a gateway (protobuf JSON, so that this needs no
 * reader of operators' files), and testdata/NAME.out.yaml beside it the resources it becomes, reviewed by eye. After
 * an intended change: npm run golden, then read the diff. NAME.snapshots.yaml, where there is one, is what its registries say.
 */
import { existsSync, globSync, readFileSync } from "node:fs";
import { join } from "node:path";

import { create, fromBinary, fromJson, type JsonValue, toBinary, toJson } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { parse, stringify } from "yaml";

import { violations } from "#proto/constraints.ts";
import { registry } from "#proto/registry.ts";
import { resourceTypeByUrl } from "#proto/resource-types.ts";
import { ServiceSnapshotSchema } from "#sluice/discovery/v1/snapshot_pb.ts";
import { GatewayGroupSchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { type Gateway, GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";

import { keyOf, objectOf, objectsIn, withDefaults } from "../model/objects.ts";
import { stateOf } from "../model/testing/state.ts";
import { type Problem, validate } from "../model/validate.ts";
import type { FindSnapshot } from "./discovered.ts";
import type { ResourceChange } from "./difference.ts";
import { GroupTranslation } from "./group.ts";

const testdata = join(import.meta.dirname, "testdata");
const names = (suffix: string) =>
  globSync(`*${suffix}`, { cwd: testdata })
    .map((file) => file.slice(0, -suffix.length))
    .sort();
const read = (name: string) => fromJson(GatewaySchema, parse(readFileSync(join(testdata, `${name}.in.yaml`), "utf8")));

test.each(names(".in.yaml"))("%s", async (name) => {
  const gateway = read(name);
  const said = readSnapshots(name);
  // Only what the admin API would take is worth translating.
  expect(problemsOf(gateway)).toEqual([]);

  const shown: Record<string, Record<string, unknown[]>> = {};
  for (const [group, changes] of translateGateway(gateway, said)) {
    for (const { typeUrl, bytes } of changes) {
      const type = resourceTypeByUrl.get(typeUrl);
      if (type === undefined || bytes === null) throw new Error(`${typeUrl} is not a resource`);
      const message = fromBinary(type.schema, bytes);
      // A golden shows that output did not change; data planes must also be able to read it.
      expect(fromBinary(type.schema, toBinary(type.schema, message))).toEqual(message);
      expect(violations(type.schema, message)).toEqual([]);
      ((shown[group] ??= {})[type.shortName] ??= []).push(toJson(type.schema, message, { registry }));
    }
  }
  await expect(stringify(shown)).toMatchFileSnapshot(join(testdata, `${name}.out.yaml`));
});

test("no golden outlives its input", () => {
  expect(new Set(names(".in.yaml")).isSupersetOf(new Set(names(".snapshots.yaml")))).toBe(true);
  expect(new Set(names(".in.yaml")).isSupersetOf(new Set(names(".out.yaml")))).toBe(true);
});

test("the same gateway gives the same bytes", () => {
  for (const name of names(".in.yaml")) expect(translateGateway(read(name))).toEqual(translateGateway(read(name)));
});

/** By the name of the service alone: goldens have one registry. */
function readSnapshots(name: string): FindSnapshot {
  const file = join(testdata, `${name}.snapshots.yaml`);
  const parsed = existsSync(file) ? (parse(readFileSync(file, "utf8")) as JsonValue[]) : [];
  const snapshots = parsed.map((each) => fromJson(ServiceSnapshotSchema, each));
  return ({ service }) => snapshots.find((each) => each.service?.service === service);
}

/** All resources of each gateway group. */
function translateGateway(
  gateway: Gateway,
  said: FindSnapshot = () => undefined,
): Map<string, readonly ResourceChange[]> {
  const byGroup = Map.groupBy(
    objectsIn(gateway).map(({ object }) => withDefaults(object)),
    (object) => keyOf(object).gatewayGroup,
  );
  return new Map(
    [...byGroup].map(([group, objects]) => {
      const changes = objects.map((object) => ({ key: keyOf(object), object }));
      const translated = new GroupTranslation(said).apply(changes);
      expect(translated.failures).toEqual([]);
      return [group, translated.changes];
    }),
  );
}

function problemsOf(gateway: Gateway): Problem[] {
  const written = objectsIn(gateway).map(({ object }) => ({ object, field: object.value.name }));
  const fallback = objectOf("gatewayGroup", create(GatewayGroupSchema, { name: "default" }));
  return validate(written, stateOf([...written.map(({ object }) => object), fallback]));
}
