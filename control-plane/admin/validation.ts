import { create, type DescMessage, type Message, type MessageShape } from "@bufbuild/protobuf";
import { type Path, reflect } from "@bufbuild/protobuf/reflect";

import { ApplyRequestSchema } from "#sluice/admin/v1/gateway_service_pb.ts";
import { CaCertificateSchema, CertificateSchema } from "#sluice/model/v1/certificate_pb.ts";
import { GatewayGroupSchema } from "#sluice/model/v1/gateway_group_pb.ts";
import { type Gateway, GatewaySchema } from "#sluice/model/v1/gateway_pb.ts";
import { RegistrySchema } from "#sluice/model/v1/registry_pb.ts";
import { ServiceSchema } from "#sluice/model/v1/service_pb.ts";

import { validator } from "../model/constraints.ts";
import { type Kind, kinds, objectKinds, type ValueOf } from "../model/kinds.ts";
import type { Problem } from "../model/problem.ts";

const secret = { source: { case: "value", value: "x" } } as const;

// Valid objects in the place of those in the request: model/validate.ts judges them, all problems at once.
const examples: { readonly [K in Kind]: ValueOf<K> } = {
  gatewayGroup: create(GatewayGroupSchema, { name: "x" }),
  service: create(ServiceSchema, { name: "x" }),
  registry: create(RegistrySchema, { name: "x", kind: { case: "leases", value: {} } }),
  certificate: create(CertificateSchema, { name: "x", certificateChain: "x", privateKey: secret }),
  caCertificate: create(CaCertificateSchema, { name: "x", certificates: "x" }),
};

const valid = new Map<DescMessage, Message>(kinds.map((kind) => [objectKinds[kind].schema, examples[kind]]));

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
    const substitute = valid.get(field.message);
    if (substitute !== undefined) replaced.set(field.localName, substitute);
    else if (field.message === GatewaySchema)
      replaced.set(field.localName, withoutContent(fields.get(field).message as Gateway));
  }
  return replaced.size === 0 ? request : { ...request, ...Object.fromEntries(replaced) };
}

/** A gateway of as many objects, since rules limit their number. */
function withoutContent(gateway: Gateway): Gateway {
  const lists = kinds.map((kind) => {
    const { list } = objectKinds[kind];
    return [list, gateway[list].map(() => examples[kind])];
  });
  return create(GatewaySchema, Object.fromEntries(lists));
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
