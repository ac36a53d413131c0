/** The tables of supported fields name fields that exist, in messages that can be reached. */
import type { DescMessage } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { registry } from "#proto/registry.ts";

import { fields as clusterFields } from "../cluster/fields.ts";
import { fields as routeFields } from "../route/fields.ts";
import { fields as listenerFields } from "./fields.ts";

const reachable = new Map<string, DescMessage>();
const reach = (message: DescMessage) => {
  if (reachable.has(message.typeName)) return;
  reachable.set(message.typeName, message);
  for (const field of message.fields) if (field.message !== undefined) reach(field.message);
};
for (const type of registry) if (type.kind === "message") reach(type);

test.each(
  [routeFields, clusterFields, listenerFields].flatMap((table) =>
    Object.entries(table).map(([typeName, fields]) => ({ typeName, names: Object.keys(fields) })),
  ),
)("$typeName", ({ typeName, names }) => {
  const known = reachable.get(typeName)?.fields.map(({ name }) => name);
  expect(known).toBeDefined();
  expect(known).toEqual(expect.arrayContaining(names));
});
