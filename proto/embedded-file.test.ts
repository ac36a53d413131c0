import { create, type DescFile, type MessageInitShape, toBinary } from "@bufbuild/protobuf";
import { base64Encode } from "@bufbuild/protobuf/wire";
import {
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProtoSchema,
} from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";

import { fileDesc } from "./embedded-file.ts";

/** A .proto file as generated code embeds it. */
const file = (init: MessageInitShape<typeof FileDescriptorProtoSchema>, imports: readonly DescFile[]) => {
  const proto = create(FileDescriptorProtoSchema, {
    syntax: "proto3",
    dependency: imports.map(({ proto: { name } }) => name),
    ...init,
  });
  return fileDesc(base64Encode(toBinary(FileDescriptorProtoSchema, proto)), imports);
};

/** A message with one field of another message's type. */
const holder = (name: string, typeName: string) => ({
  name,
  field: [
    {
      name: "held",
      number: 1,
      typeName,
      type: FieldDescriptorProto_Type.MESSAGE,
      label: FieldDescriptorProto_Label.OPTIONAL,
    },
  ],
});

const inner = file({ name: "inner.proto", messageType: [{ name: "Inner" }] }, []);
const publicly = file({ name: "public.proto", publicDependency: [0], messageType: [{ name: "Public" }] }, [inner]);
const privately = file({ name: "private.proto", messageType: [{ name: "Private" }] }, [inner]);

test("a file names types that its imports import publicly, and depends on its imports themselves", () => {
  const outer = file({ name: "outer.proto", messageType: [holder("Outer", ".Inner")] }, [publicly]);
  expect(outer.messages[0]?.fields[0]?.message).toBe(inner.messages[0]);
  expect(outer.dependencies[0]).toBe(publicly);
  expect(outer.dependencies[0]?.dependencies[0]).toBe(inner);
});

test("a file names no type that its imports only use", () => {
  expect(() => file({ name: "outer.proto", messageType: [holder("Outer", ".Inner")] }, [privately])).toThrow(/Inner/);
});
