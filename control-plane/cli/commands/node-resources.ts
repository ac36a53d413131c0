import { type NodeResource, type ProxyNode, ResourceState } from "#sluice/admin/v1/status_service_pb.ts";

import type { AdminClient } from "../client.ts";
import { CliError } from "../errors.ts";
import { objectText } from "../rollout-view.ts";
import { table } from "../table.ts";
import { type Paint, printable, type Style } from "../terminal.ts";

const PAGE_SIZE = 1_000;

/** Resource types by URL, under the names of Envoy's documentation, in the order of pushes. */
export type TypeNames = ReadonlyMap<string, string>;

/** The URL of a type that a user names; empty for none. @throws CliError */
export function typeUrlOf(name: string | undefined, typeNames: TypeNames): string {
  if (name === undefined) return "";
  const [found] = [...typeNames].find(([url, short]) => short === name.toUpperCase() || url === name) ?? [];
  if (found === undefined) {
    throw new CliError(`there is no resource type ${name}`, `types are ${[...typeNames.values()].join(", ")}`);
  }
  return found;
}

/** Every resource of a connected data plane. @param typeUrl of one type; empty: of all */
export async function readResources(
  { status }: AdminClient,
  { id: nodeId, gatewayGroup }: ProxyNode,
  typeUrl: string,
): Promise<NodeResource[]> {
  const all: NodeResource[] = [];
  let pageToken = "";
  do {
    const page = await status.listNodeResources({ nodeId, gatewayGroup, typeUrl, pageSize: PAGE_SIZE, pageToken });
    all.push(...page.resources);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return all;
}

const states: ReadonlyMap<ResourceState, readonly [string, Style]> = new Map([
  [ResourceState.ACCEPTED, ["ACCEPTED", "green"]],
  [ResourceState.SENT, ["SENT", "yellow"]],
  [ResourceState.WAITING, ["WAITING", "yellow"]],
  [ResourceState.REFUSED, ["REFUSED", "red"]],
  [ResourceState.UNDECIDED, ["UNDECIDED", "yellow"]],
]);

/** A line for each resource, and under a refused one whose fault it is and why. */
export function resourceTable(resources: readonly NodeResource[], typeNames: TypeNames, style: Paint): string {
  const rows = resources.map(({ typeUrl, name, sentVersion, acceptedVersion, state }) => {
    const [text, color] = states.get(state) ?? ["UNKNOWN", "yellow"];
    const type = typeNames.get(typeUrl) ?? printable(typeUrl);
    return [
      type,
      printable(name),
      printable(sentVersion) || "-",
      printable(acceptedVersion) || "-",
      style(color, text),
    ];
  });
  const [head = "", ...lines] = table(["TYPE", "RESOURCE", "SENT", "ACCEPTED", "STATE"], rows).split("\n");
  const body = lines.flatMap((line, at) => {
    const { nack = "", objects = [] } = resources[at] ?? {};
    return nack === "" ? [line] : [line, `  ${style("red", "└─")} ${printable(refusalText(nack, objects))}`];
  });
  return [style("dim", head), ...body].join("\n");
}

/** Whose fault a refusal is, as far as that is known, and the data plane's words. */
export const refusalText = (reason: string, objects: NodeResource["objects"]): string =>
  objects.length === 0 ? reason : `${objects.map((object) => objectText(object)).join(", ")}: ${reason}`;
