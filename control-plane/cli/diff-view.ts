import { type Change, ChangeType, type FieldChange } from "#sluice/admin/v1/common_pb.ts";
import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import type { GatewaySource } from "./gateway-source.ts";
import { describeObject, describeRoute, shorten } from "./objects.ts";
import { type Paint, printable } from "./terminal.ts";
import type { Position } from "./yaml/tree.ts";

/** What a diff is shown of. */
export interface DiffInput {
  readonly changes: readonly Change[];
  readonly unchangedObjects: number;
  /** The files that the changes come from, to name lines. */
  readonly source?: GatewaySource | undefined;
  /** "Plan" for what would happen, "Applied" for what did. */
  readonly verb: "Plan" | "Applied";
}

const VALUE_WIDTH_MAX = 80;
const FIELDS_MAX = 50;
const CHILDREN_MAX = 20;
const PLACE_COLUMN = 64;

/**
 * The changes of a write, as concise as terraform's: a symbol and a line for each object, under it only the fields that differ; what is
 * hidden is counted. Reads the same without colours.
 */
export function diffView({ changes, unchangedObjects, source, verb }: DiffInput, style: Paint): string {
  const lines = changes.flatMap((change) => objectLines(change, source, style));
  const counts = [ChangeType.CREATED, ChangeType.UPDATED, ChangeType.DELETED].map(
    (type) => changes.filter((change) => change.type === type).length,
  );
  const [added, changed, deleted] = counts;
  const words =
    verb === "Plan"
      ? `${added} to add, ${changed} to change, ${deleted} to delete`
      : `${added} added, ${changed} changed, ${deleted} deleted`;
  const hidden = unchangedObjects > 0 ? ` (${count(unchangedObjects, "unchanged object")} hidden)` : "";
  const summary = changes.length === 0 ? `No changes.${hidden}` : `${style("bold", `${verb}:`)} ${words}.${hidden}`;
  return [...lines, summary].join("\n");
}

const count = (number: number, noun: string) => `${number} ${noun}${number === 1 ? "" : "s"}`;

function objectLines(change: Change, source: GatewaySource | undefined, style: Paint): string[] {
  const object = describeObject(change.after ?? change.before);
  const names: Record<string, string> =
    object.group === "" ? { name: object.name } : { name: object.name, gatewayGroup: object.group };
  const place = change.type === ChangeType.DELETED ? undefined : source?.find(object.list, names);
  const title = `${object.kind} ${printable(object.name)}${object.group === "" ? "" : ` (${printable(object.group)})`}`;
  const head = withPlace(title, place, style);
  switch (change.type) {
    case ChangeType.CREATED:
      return [
        `  ${style("green", "+")} ${head}`,
        ...children(change).map((line) => `      ${style("green", "+")} ${line}`),
      ];
    case ChangeType.DELETED:
      return [`  ${style("red", "-")} ${head}`];
    default: {
      const shown = change.fields.slice(0, FIELDS_MAX);
      const width = Math.min(40, Math.max(0, ...shown.map(({ path }) => printable(path).length)));
      const more = change.fields.length - shown.length;
      return [
        `  ${style("yellow", "~")} ${head}`,
        ...shown.map((field) => `      ${fieldLine(field, width, style)}`),
        ...(more > 0 ? [style("dim", `        (${count(more, "more changed field")})`)] : []),
        ...(change.unchangedFields > 0
          ? [style("dim", `        (${count(change.unchangedFields, "unchanged field")} hidden)`)]
          : []),
      ];
    }
  }
}

function withPlace(title: string, place: Position | undefined, style: Paint): string {
  if (place === undefined) return style("bold", title);
  const padding = " ".repeat(Math.max(2, PLACE_COLUMN - title.length));
  return `${style("bold", title)}${padding}${style("dim", `${place.file}:${place.line}`)}`;
}

function fieldLine({ path, before, after }: FieldChange, width: number, style: Paint): string {
  const name = printable(path).padEnd(width);
  if (before === "") return `${style("green", "+")} ${name}  ${brief(after)}`;
  if (after === "") return `${style("red", "-")} ${name}  ${brief(before)}`;
  return `${style("yellow", "~")} ${name}  ${style("red", brief(before))} -> ${style("green", brief(after))}`;
}

/** What tells a new object apart, since its fields are all new. */
function children({ after }: Change): string[] {
  const { kind } = after ?? {};
  if (kind?.case === "gatewayGroup") return listeners(kind.value);
  if (kind?.case === "service") return routes(kind.value);
  if (kind?.case === "registry") return [`kind ${kind.value.kind.case ?? "?"}`];
  return [];
}

const listeners = (group: GatewayGroup) =>
  group.listeners.map(({ name, address, port }) => `listener ${printable(name)}  ${printable(address)}:${port}`);

function routes({ hosts, pathPrefix, routes: all }: Service): string[] {
  const shown = all.slice(0, CHILDREN_MAX);
  const width = Math.max(0, ...shown.map(({ name }) => name.length));
  return [
    ...(hosts.length > 0 ? [`hosts ${printable(shorten(hosts, 4))}`] : []),
    ...(pathPrefix === "" ? [] : [`pathPrefix ${printable(pathPrefix)}`]),
    ...shown.map((route) => `route ${printable(route.name.padEnd(width))}  ${printable(describeRoute(route))}`),
    ...(all.length > shown.length ? [`… ${count(all.length - shown.length, "more route")}`] : []),
  ];
}

/** JSON as a flow of YAML: quotes only where a reader would be misled, long values cut. */
function brief(json: string): string {
  let text: string;
  try {
    text = flow(JSON.parse(json));
  } catch {
    text = json;
  }
  const safe = printable(text);
  return safe.length > VALUE_WIDTH_MAX ? `${safe.slice(0, VALUE_WIDTH_MAX - 1)}…` : safe;
}

function flow(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(flow).join(", ")}]`;
  if (typeof value === "object" && value !== null) {
    return `{${Object.entries(value)
      .map(([key, item]) => `${key}: ${flow(item)}`)
      .join(", ")}}`;
  }
  if (typeof value !== "string") return String(value);
  const plain = /^[A-Za-z/*.][^\s,[\]{}:"'#]*(?::[^\s,[\]{}:"'#]+)*$/.test(value) && !/^(true|false|null)$/.test(value);
  return plain ? value : JSON.stringify(value);
}
