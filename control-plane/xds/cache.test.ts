import { fromBinary } from "@bufbuild/protobuf";
import fc from "fast-check";
import { expect, test } from "vitest";

import { DeltaDiscoveryResponseSchema, DiscoveryResponseSchema } from "#envoy/service/discovery/v3/discovery_pb.ts";

import { resource, typeUrlOf } from "../../test/support/xds-resources.ts";
import { ResourceCache, type ResourceChange } from "./cache.ts";
import { WILDCARD } from "./interest.ts";
import { Bodies } from "./bodies.ts";
import { encodeDeltaResponse, encodeEntry, encodeResponse } from "./wire.ts";

const CDS = typeUrlOf("CDS");
const EDS = typeUrlOf("EDS");

function filled(...updates: ReturnType<typeof resource>[]): ResourceCache {
  const cache = new ResourceCache();
  cache.update("g", updates);
  cache.markReady();
  return cache;
}

/** Notes what it is told. */
class Listener {
  readonly told: string[] = [];
  groups = 0;
  changed(typeUrl: string, changes: readonly ResourceChange[]): void {
    this.told.push(`${typeUrl.split(".").at(-1)}: ${changes.map(({ name }) => name).join(",")}`);
  }
  groupChanged(): void {
    this.groups++;
  }
}

test("the responses decode to what was put in, whatever the sizes", () => {
  fc.assert(
    fc.property(
      fc.array(fc.tuple(fc.string({ maxLength: 300 }), fc.uint8Array({ maxLength: 20_000 })), { maxLength: 5 }),
      fc.array(fc.string({ unit: "grapheme", maxLength: 200 }), { maxLength: 3 }),
      (resources, removed) => {
        const head = { version: "v", typeUrl: CDS, nonce: "n" };
        const entries = resources.map(([name, bytes]) => encodeEntry(name, "0123456789abcdef", CDS, bytes));
        const delta = fromBinary(
          DeltaDiscoveryResponseSchema,
          Buffer.concat(encodeDeltaResponse(head, new Bodies("delta").of("", entries), removed)),
        );
        expect(delta).toMatchObject({ systemVersionInfo: "v", typeUrl: CDS, nonce: "n", removedResources: removed });
        expect(delta.resources.map(({ name, version }) => [name, version])).toEqual(
          resources.map(([name]) => [name, "0123456789abcdef"]),
        );
        const sotw = fromBinary(
          DiscoveryResponseSchema,
          Buffer.concat(encodeResponse(head, new Bodies("sotw").of("", entries))),
        );
        expect(sotw).toMatchObject({ versionInfo: "v", typeUrl: CDS, nonce: "n" });
        for (const [at, [, bytes]] of resources.entries()) {
          for (const any of [delta.resources[at]?.resource, sotw.resources[at]]) {
            expect(any?.typeUrl).toBe(CDS);
            expect(Buffer.from(any?.value ?? []).equals(bytes)).toBe(true);
          }
        }
      },
    ),
    { numRuns: 50 },
  );
});

test("S17 the version of a set depends on its content alone", () => {
  const step = fc.tuple(fc.constantFrom("a", "b", "c"), fc.constantFrom("1", "2", null));
  fc.assert(
    fc.property(fc.array(step, { maxLength: 30 }), (steps) => {
      const cache = filled();
      for (const [name, content] of steps) cache.update("g", [resource("CDS", name, content)]);
      const left = new Map(steps.filter(([name], at) => steps.findLastIndex((other) => other[0] === name) === at));
      const direct = filled(...[...left].map(([name, content]) => resource("CDS", name, content)));
      expect(cache.resources("g", CDS)?.version).toBe(direct.resources("g", CDS)?.version);
      expect(cache.resources("g", CDS)?.size).toBe(direct.resources("g", CDS)?.size);
    }),
  );
});

test("content that stays as it was is no change and keeps its bytes", () => {
  const cache = filled(resource("CDS", "a"));
  const before = cache.resources("g", CDS)?.get("a");
  expect(cache.update("g", [resource("CDS", "a"), resource("CDS", "b", null)])).toBe(0);
  expect(cache.resources("g", CDS)?.get("a")).toBe(before);
  expect(cache.update("g", [resource("CDS", "a", "2")])).toBe(1);
});

test("an update is told to those who want it, once for each type", () => {
  const cache = filled();
  const [all, one, none] = [new Listener(), new Listener(), new Listener()];
  cache.attach("g", all).interest.add(CDS, WILDCARD, all);
  const { interest } = cache.attach("g", one);
  for (const name of ["a", "b"]) interest.add(CDS, name, one);
  cache.attach("g", none).interest.add(EDS, "z", none);
  cache.update("g", [resource("CDS", "a"), resource("CDS", "b"), resource("CDS", "c"), resource("EDS", "a")]);
  expect(all.told).toEqual(["Cluster: a,b,c"]);
  expect(one.told).toEqual(["Cluster: a,b"]);
  expect(none.told).toEqual([]);
});

test("who wants everything and a name besides is told once; who has gone, never", () => {
  const cache = filled();
  const listener = new Listener();
  const audience = cache.attach("g", listener);
  const { interest } = audience;
  interest.add(CDS, WILDCARD, listener);
  interest.add(CDS, "a", listener);
  cache.update("g", [resource("CDS", "a")]);
  expect(listener.told).toEqual(["Cluster: a"]);
  interest.remove(CDS, WILDCARD, listener);
  interest.remove(CDS, "a", listener);
  audience.detach();
  cache.update("g", [resource("CDS", "a", "2")]);
  cache.removeGroup("g");
  expect([listener.told.length, listener.groups]).toEqual([1, 0]);
});

test("lesson 14: there is nothing to serve before the cache is ready", () => {
  const cache = new ResourceCache();
  const listener = new Listener();
  cache.attach("g", listener).interest.add(CDS, WILDCARD, listener);
  cache.update("g", [resource("CDS", "a")]);
  expect(cache.resources("g", CDS)).toBeUndefined();
  expect([listener.told.length, listener.groups]).toEqual([0, 0]);
  cache.markReady();
  expect(cache.resources("g", CDS)?.size).toBe(1);
  expect(listener.groups).toBe(1);
});

test("a group exists from its first update to its removal", () => {
  const cache = filled();
  const listener = new Listener();
  cache.attach("later", listener);
  expect(cache.resources("later", CDS)).toBeUndefined();
  cache.update("later", []);
  expect(cache.hasGroup("later")).toBe(true);
  expect(cache.resources("later", CDS)?.size).toBe(0);
  cache.removeGroup("later");
  expect(cache.hasGroup("later")).toBe(false);
  expect(listener.groups).toBe(2);
});
