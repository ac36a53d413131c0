/** What of typed_per_filter_config is refused; what it does is compared with Envoy in test/differential/filter-switches.test.ts. */
import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";
import { expect, test } from "vitest";

import { FilterConfigSchema } from "#envoy/config/route/v3/route_components_pb.ts";
import { GrpcWebSchema } from "#envoy/extensions/filters/http/grpc_web/v3/grpc_web_pb.ts";

import { Place } from "../compile.ts";
import { compileFilterSwitches } from "./filter-switches.ts";

const grpcWeb = anyPack(GrpcWebSchema, create(GrpcWebSchema));
const unknown = { ...grpcWeb, typeUrl: "type.googleapis.com/no.such.Filter" };
const none = { ...grpcWeb, typeUrl: "", value: new Uint8Array() };
const wrapped = (config: MessageInitShape<typeof FilterConfigSchema>) =>
  anyPack(FilterConfigSchema, create(FilterConfigSchema, config));

function compile(any: Any) {
  const place = Place.root();
  const compiled = place.result(compileFilterSwitches({ a: any }, new Map([["b", false]]), place));
  return compiled.ok ? Object.fromEntries(compiled.value ?? []) : compiled.problems;
}

test.each<[string, Any, Record<string, boolean>]>([
  ["disabled", wrapped({ disabled: true }), { a: false, b: false }],
  ["disabled, whatever its settings", wrapped({ disabled: true, config: unknown }), { a: false, b: false }],
  ["settings of no type", wrapped({ config: none }), { a: true, b: false }],
  ["unknown and optional", wrapped({ config: unknown, isOptional: true }), { b: false }],
])("%s", (_, any, expected) => {
  expect(compile(any)).toEqual(expected);
});

test.each<[string, Any]>([
  ["settings that are not wrapped", grpcWeb],
  ["unknown settings", wrapped({ config: unknown })],
  ["settings of a filter that has none by route", wrapped({ config: grpcWeb, isOptional: true })],
  ["no settings at all", wrapped({})],
])("%s: refused", (_, any) => {
  expect(compile(any)).toMatchObject([{ field: "typed_per_filter_config" }]);
});
