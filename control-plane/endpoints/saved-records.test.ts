import { create, toBinary } from "@bufbuild/protobuf";
import { beforeAll, expect, test } from "vitest";

import { SavedEndpointsSchema } from "#sluice/discovery/v1/saved_pb.ts";

import { canonical } from "../../discovery/canonical.ts";
import { serviceKey, snapshotOf } from "../../discovery/testing/scripted-source.ts";
import { decodeRecords, encodeFormat, encodeRecords, type Saved } from "./saved-records.ts";

const addresses = { carts: ["10.0.0.1", "10.0.0.2"], orders: ["10.0.1.1"], stock: ["10.0.2.1"] };

const saved = (service: string, of: readonly string[]): Saved => ({
  ...{ gatewayGroup: "g", registry: "r", service: serviceKey(service) },
  served: canonical(snapshotOf(service, of)),
});

/** As "group/registry service: addresses". */
const words = ({ gatewayGroup, registry, service, served }: Saved) =>
  `${gatewayGroup}/${registry} ${service.service}: ${served
    .decode()
    .endpoints.map(({ address }) => address)
    .join()}`;
const written = new Set(["g/r carts: 10.0.0.1,10.0.0.2", "g/r orders: 10.0.1.1", "g/r stock: 10.0.2.1"]);

let file: Buffer;
beforeAll(async () => {
  const all = Object.entries(addresses).map(([service, of]) => saved(service, of));
  file = Buffer.concat([encodeFormat(), ...(await Array.fromAsync(encodeRecords(all)))]);
});

test("what was written is read", () => {
  const { records, ...rest } = decodeRecords(file);
  expect(new Set(records.map(words))).toEqual(written);
  expect(rest).toEqual({ isChecked: true, damaged: 0, problem: undefined });
});

test("of a file with one wrong bit, wherever, nothing becomes endpoints that was not written, and it is told", () => {
  let left = 0;
  for (let at = 0; at < file.length * 8; at++) {
    const flipped = Buffer.from(file);
    flipped[at >> 3] = (flipped[at >> 3] ?? 0) ^ (1 << (at & 7));
    const { records, damaged, problem } = decodeRecords(flipped);
    expect([at, ...records.map(words).filter((each) => !written.has(each))]).toEqual([at]);
    expect(damaged === 0 && problem === undefined, `bit ${at}`).toBe(false);
    left += records.length;
  }
  // Most bits are in one record's content: the other two are there.
  expect(left).toBeGreaterThan(file.length * 8);
});

test("of a file that ends anywhere, what is before counts", () => {
  for (let length = 1; length < file.length; length++) {
    const { records, damaged, problem } = decodeRecords(file.subarray(0, length));
    expect([length, ...records.map(words).filter((each) => !written.has(each))]).toEqual([length]);
    // Between two records nobody can tell.
    if (problem === undefined) expect([length, records.length < written.size, damaged]).toEqual([length, true, 0]);
  }
});

test("a file of a version without checksums is read, and known as such", () => {
  const snapshots = Object.entries(addresses).map(([service, of]) => ({
    ...{ gatewayGroup: "g", registry: "r" },
    snapshot: { ...snapshotOf(service, of), service: serviceKey(service) },
  }));
  const { records, ...rest } = decodeRecords(
    toBinary(SavedEndpointsSchema, create(SavedEndpointsSchema, { snapshots })),
  );
  expect(new Set(records.map(words))).toEqual(written);
  expect(rest).toEqual({ isChecked: false, damaged: 0, problem: undefined });
});

test("a file of a later version is left alone", () => {
  const later = toBinary(SavedEndpointsSchema, create(SavedEndpointsSchema, { format: 3 }));
  const { records, problem } = decodeRecords(Buffer.concat([later, file.subarray(encodeFormat().length)]));
  expect(records).toEqual([]);
  expect(problem).toContain("format 3");
});
