import type { DescMessage, MessageShape } from "@bufbuild/protobuf";
import { type Any, anyPack } from "@bufbuild/protobuf/wkt";

/** The typed configuration of an Envoy extension, by the name under which Envoy registers it. */
export const extension = <Desc extends DescMessage>(
  name: string,
  schema: Desc,
  message: MessageShape<Desc>,
): { name: string; configType: { case: "typedConfig"; value: Any } } => ({
  name,
  configType: { case: "typedConfig", value: anyPack(schema, message) },
});
