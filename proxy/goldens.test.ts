/**
 * A golden of the translation proves that output did not change; this proves that the proxy takes it: each resource in
 * control-plane/translate/testdata is judged as if it had come from a control plane.
 */
import { globSync, readFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

import { fromJson, type JsonValue, type Message, toBinary } from "@bufbuild/protobuf";
import { expect, test } from "vitest";
import { parse } from "yaml";

import { registry } from "#proto/registry.ts";
import { type ResourceType, resourceType } from "#proto/resource-types.ts";

import { validateResource } from "./parts.ts";
import { supportedFields } from "./supported-fields.ts";
import { decodeResource } from "./xds/decode.ts";

const testdata = join(import.meta.dirname, "../control-plane/translate/testdata");

type Golden = Record<string, Partial<Record<ResourceType["shortName"], JsonValue[]>>>;

test.each(globSync("*.out.yaml", { cwd: testdata }).sort())("%s", (file) => {
  // Whether a log's folder is there depends on the machine.
  const text = readFileSync(join(testdata, file), "utf8").replaceAll("/var/log/sluice/", `${tmpdir()}/`);
  const golden = parse(text) as Golden;
  const refused: unknown[] = [];
  for (const byType of Object.values(golden)) {
    for (const [shortName, resources] of Object.entries(byType)) {
      const type = resourceType(shortName as ResourceType["shortName"]);
      for (const json of resources) {
        const message: Message = fromJson(type.schema, json, { registry });
        const name = String((message as unknown as Record<string, unknown>)[type.nameField]);
        const decoder = { fields: supportedFields, validate: validateResource };
        const decoded = decodeResource(type, name, toBinary(type.schema, message), decoder);
        if (!decoded.ok) refused.push({ shortName, name, problems: decoded.problems });
      }
    }
  }
  expect(refused).toEqual([]);
});
