import { expect, test } from "vitest";

import { resourceType } from "#proto/resource-types.ts";

import { ResourceCache } from "./cache.ts";
import { withoutSecrets } from "./withhold.ts";

test("secrets are kept back, once with a warning for each group, and nothing else is", () => {
  const cache = new ResourceCache();
  const warned: string[] = [];
  const guarded = withoutSecrets(cache, (group) => warned.push(group));
  const secret = { typeUrl: resourceType("SDS").typeUrl, name: "certificate/a", bytes: new Uint8Array([1]) };
  const listener = { typeUrl: resourceType("LDS").typeUrl, name: "http", bytes: new Uint8Array([2]) };
  expect(guarded.update("default", [secret, listener])).toBe(1);
  expect(guarded.update("default", [{ ...secret, bytes: new Uint8Array([3]) }])).toBe(0);
  expect(guarded.update("default", [{ ...listener, bytes: new Uint8Array([3]) }])).toBe(1);
  expect(warned).toEqual(["default"]);
});
