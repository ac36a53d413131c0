import { create, type DescMessage, type Message, type MessageShape } from "@bufbuild/protobuf";
import { type Path, reflect } from "@bufbuild/protobuf/reflect";

import { ApplyRequestSchema } from "#sluice/admin/v1/gateway_service_pb.ts";
import { GatewayGroupSchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { type Gateway, GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";
import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { validator } from "../model/constraints.ts";
import type { Problem } from "../model/problem.ts";

// Valid objects in the place of those in the request: model/validate.ts judges them, all problems at once.
const group = create(GatewayGroupSchema, { name: "x" });
const service = create(ServiceSchema, { name: "x" });

/**
 * What is wrong with a request by the protovalidate rules in its .proto file, leaving out the model's objects in it.
 * @throws Error for a rule that can't be evaluated, which is a bug
 */
export function requestProblems<Desc extends DescMessage>(schema: Desc, request: MessageShape<Desc>): Problem[] {
  const result = validator.validate(schema, withoutObjects(schema, request));
  if (result.kind === "error") throw result.error;
  if (result.kind === "valid") return [];
  return result.violations.map(({ field, ruleId, message }) => ({
    field: fieldText(field),
    reason: reasonOf(ruleId),
    message,
  }));
}

/** Has the rules of the whole model compiled before the first write needs them; it takes some 0.2 s of CPU once. */
export function compileRules(): void {
  requestProblems(ApplyRequestSchema, create(ApplyRequestSchema));
}

/** A rule as the model's checks name it (model/constraints.ts); "uint32.lte" is "out_of_range". */
function reasonOf(ruleId: string): string {
  if (ruleId === "required") return "required";
  return /\.(lte?|gte?|m(ax|in)_(len|items|pairs|bytes))$/.test(ruleId) ? "out_of_range" : "invalid_format";
}

/** The request with each object of the model replaced by one that breaks no rule. */
function withoutObjects<Desc extends DescMessage>(schema: Desc, request: MessageShape<Desc>): MessageShape<Desc> {
  const replaced = new Map<string, Message>();
  const fields = reflect(schema, request);
  for (const field of schema.fields) {
    if (field.fieldKind !== "message" || !fields.isSet(field)) continue;
    if (field.message === GatewayGroupSchema) replaced.set(field.localName, group);
    else if (field.message === ServiceSchema) replaced.set(field.localName, service);
    else if (field.message === GatewaySchema) {
      const { gatewayGroups, services } = fields.get(field).message as Gateway;
      replaced.set(
        field.localName,
        // Of the same length: the rules limit it.
        create(GatewaySchema, { gatewayGroups: gatewayGroups.map(() => group), services: services.map(() => service) }),
      );
    }
  }
  return replaced.size === 0 ? request : { ...request, ...Object.fromEntries(replaced) };
}

/** A path in the words of a gateway file; `gateway` itself isn't one of them. */
function fieldText(path: Path): string {
  let text = "";
  for (const part of path) {
    switch (part.kind) {
      case "field":
        text += `${text === "" ? "" : "."}${part.jsonName}`;
        break;
      case "oneof":
        text += `${text === "" ? "" : "."}${part.localName}`;
        break;
      case "list_sub":
        text += `[${part.index}]`;
        break;
      case "map_sub":
        text += `[${JSON.stringify(String(part.key))}]`;
        break;
      default:
        throw new Error(`a rule's path has a part of kind ${part.kind}`);
    }
  }
  return text.replace(/^gateway\./, "");
}
