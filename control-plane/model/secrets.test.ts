import { create, toJson } from "@bufbuild/protobuf";
import { expect, test } from "vitest";

import { RegistrySchema } from "#sluice/model/v1/registry_pb.ts";

import { SecretBox, parseSecretKeys } from "../store/secret-box.ts";
import { diffObjects } from "./diff.ts";
import { objectOf } from "./objects.ts";
import { redacted, withKeptSecrets } from "./redact.ts";
import { REDACTED } from "./secrets.ts";

const nacos = (password: string, server = "http://a:8848") =>
  objectOf(
    "registry",
    create(RegistrySchema, {
      name: "r",
      kind: {
        case: "nacos",
        value: {
          addresses: [server],
          username: "u",
          password: { source: { case: "value", value: password } },
          secretKey: { source: { case: "env", value: "SECRET_KEY" } },
        },
      },
    }),
  );

const key = (byte: number) => Buffer.alloc(32, byte);

test("an object is shown without its secrets, and with the places where others are found", () => {
  const shown = JSON.stringify(toJson(RegistrySchema, redacted(nacos("hidden")).value as never));
  expect(shown).not.toContain("hidden");
  expect(shown).toContain(REDACTED);
  expect(shown).toContain("SECRET_KEY");
});

test("a redacted secret that comes back stands for the stored one", () => {
  const { object, lost } = withKeptSecrets(nacos(REDACTED, "http://b:8848"), nacos("hidden"));
  expect(object).toEqual(nacos("hidden", "http://b:8848"));
  expect(lost).toEqual([]);
  expect(withKeptSecrets(nacos(REDACTED), undefined).lost).toEqual(["nacos.password"]);
});

test("a diff tells that a secret changed, and shows neither the old nor the new one", () => {
  const change = diffObjects(nacos("hidden1"), nacos("hidden2"));
  expect(change.fields.map(({ path, before, after }) => [path, before, after])).toEqual([
    ["nacos.password.value", `"${REDACTED}"`, `"${REDACTED} (changed)"`],
  ]);
  expect(diffObjects(nacos("hidden"), nacos("hidden")).fields).toEqual([]);
});

test("what is sealed holds nothing of the secret, and opens with its key and for its object only", () => {
  const box = new SecretBox([key(1)]);
  const { value } = nacos("hidden");
  const sealed = box.seal(RegistrySchema, value as never, "registry default/r");
  expect(Buffer.from(JSON.stringify(toJson(RegistrySchema, sealed))).includes("hidden")).toBe(false);
  expect(box.open(RegistrySchema, sealed, "registry default/r")).toEqual(value);
  expect(new SecretBox([key(2), key(1)]).open(RegistrySchema, sealed, "registry default/r")).toEqual(value);
  expect(() => box.open(RegistrySchema, sealed, "registry default/other")).toThrow(/belongs to another object/);
  expect(() => new SecretBox([key(2)]).open(RegistrySchema, sealed, "registry default/r")).toThrow(
    /key that is not given/,
  );
  expect(() => new SecretBox().open(RegistrySchema, sealed, "registry default/r")).toThrow(/key that is not given/);
});

test("keys are 32 bytes, in base64 or hexadecimal", () => {
  expect(parseSecretKeys(`${key(1).toString("base64")}\n${key(2).toString("hex")}\n`)).toEqual([key(1), key(2)]);
  for (const wrong of ["", "abc", key(1).subarray(1).toString("base64")])
    expect(parseSecretKeys(wrong)).toBeUndefined();
});
