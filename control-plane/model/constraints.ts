/** The rules that stand in the .proto files, checked by protovalidate, in an operator's words. */
import type { DescField, Message } from "@bufbuild/protobuf";
import type { Path } from "@bufbuild/protobuf/reflect";
import { createValidator, type Violation } from "@bufbuild/protovalidate";

import { schemaOf } from "./kinds.ts";
import type { StoredObject } from "./objects.ts";
import { quoted, type Report } from "./problem.ts";

/** The process's only one: it compiles the rules of a message type once, which takes 0.1 s and more, and keeps them. */
export const validator = createValidator();

/** Reports every rule of the .proto that an object breaks. */
export function checkMessage(object: StoredObject, report: Report): void {
  const result = validator.validate(schemaOf(object.kind), object.value);
  // The schemas are constant, so that anything but violations is a fault of theirs.
  if (result.kind === "error") throw result.error;
  for (const violation of result.violations ?? []) {
    const { reason, message } = inWords(violation, valueAt(object.value, violation.field));
    report(fieldText(violation.field), reason, message);
  }
}

/** A path in the words of a gateway file: "upstreams[0].hashOn". */
function fieldText(path: Path): string {
  let text = "";
  for (const step of path) {
    if (step.kind === "list_sub") text += `[${step.index}]`;
    else if (step.kind === "map_sub") text += `[${quoted(String(step.key))}]`;
    // A oneof has no name in JSON: what is wrong is the message around it.
    else if (step.kind === "field") text += text === "" ? step.jsonName : `.${step.jsonName}`;
  }
  return text;
}

/** The value at a path; undefined where it leads through something that is not set. */
function valueAt(message: Message, path: Path): unknown {
  let value: unknown = message;
  for (const step of path) {
    if (typeof value !== "object" || value === null) return undefined;
    if (step.kind === "field") value = fieldValue(value, step);
    else if (step.kind === "list_sub") value = Reflect.get(value, step.index);
    else if (step.kind === "map_sub") value = Reflect.get(value, String(step.key));
  }
  return value;
}

function fieldValue(message: object, field: DescField): unknown {
  if (field.oneof === undefined) return Reflect.get(message, field.localName);
  const oneof: unknown = Reflect.get(message, field.oneof.localName);
  return typeof oneof === "object" && oneof !== null ? Reflect.get(oneof, "value") : undefined;
}

/** What patterns of our .proto files ask for. */
const patterns: Readonly<Record<string, string>> = {
  "^[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$":
    'is not a name; use letters, digits, "_", "." and "-", with a letter or digit at both ends',
  "^\\S+$": "must not hold spaces",
  "^(/[^\\x00-\\x1f]*)?$": 'must be an absolute path: it starts with "/" and holds no control characters',
  "^/": 'must start with "/"',
  "^[A-Za-z0-9!#$%&'*+.^_`|~-]+$": "is not the name of a header or cookie (RFC 9110, token)",
  "^(GET|POST|PUT|DELETE|PATCH|HEAD|OPTIONS|TRACE|PURGE)$":
    "is not a method; there are GET, POST, PUT, DELETE, PATCH, HEAD, OPTIONS, TRACE and PURGE, in upper case",
};

function inWords({ ruleId, message }: Violation, value: unknown): { reason: string; message: string } {
  const shown = typeof value === "string" ? `${quoted(value)} ` : "";
  const said = typeof value === "number" ? `${value} is out of range: it ${message}` : message;
  const rule = ruleId.slice(ruleId.indexOf(".") + 1);
  switch (rule) {
    case "required":
      return { reason: "required", message: "must be set" };
    case "min_len":
      return { reason: "required", message: "must not be empty" };
    case "min_items":
      return { reason: "required", message: "must not be empty" };
    case "max_len":
      return { reason: "too_long", message: `is too long: it ${message}` };
    case "max_items":
    case "max_pairs":
      return { reason: "too_many", message: `has too many entries: it ${message}` };
    case "unique":
      return { reason: "duplicate", message: "lists something twice; write each once" };
    case "pattern": {
      const pattern = message.slice(message.indexOf("`") + 1, message.lastIndexOf("`"));
      return { reason: "invalid_format", message: `${shown}${patterns[pattern] ?? message}` };
    }
    case "defined_only":
      return { reason: "unknown_value", message: `${String(value)} is not one of the values that are defined` };
    case "const":
      return { reason: "invalid_value", message: "can only be true; leave it out otherwise" };
    default:
      return { reason: "out_of_range", message: said };
  }
}
