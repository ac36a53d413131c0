/** How registries are shown: all of them in a table, or one with its history. */
import { type Timestamp, timestampDate } from "@bufbuild/protobuf/wkt";

import type { DiscoveryProblem, WatchedRegistry } from "#sluice/admin/v1/discovery_service_pb.ts";

import { ago, table } from "../table.ts";
import { type Paint, printable } from "../terminal.ts";

const registryHead = ["GROUP", "REGISTRY", "KIND", "VERSION", "STATE", "LAST ANSWER", "SERVICES"];

/** A line for each registry, and under it what is wrong. */
export function registryTable(all: readonly WatchedRegistry[], style: Paint): string {
  if (all.length === 0) return "There is no registry: sluice apply writes one (registries: in a gateway file).";
  const rows = all.map((each) => [
    ...[printable(each.gatewayGroup), printable(each.name), each.kind, printable(each.version) || "-"],
    healthOf(each.problem, style),
    since(each.lastAnswerTime),
    String(each.watchedServices),
  ]);
  return withNotes(
    table(registryHead, rows),
    all.map(({ problem }) => (problem === undefined ? [] : [problem.message])),
    style,
  );
}

/** All about one registry. */
export function registryDetails(registry: WatchedRegistry, style: Paint): string {
  const { gatewayGroup, name, kind, version, clusterIdentity, problem, history, users, watcher } = registry;
  const title = `${style("bold", printable(name))} (${printable(gatewayGroup)})   ${healthOf(problem, style)}`;
  const rows = [
    ["kind", kind],
    ["version", printable(version)],
    ["cluster", printable(clusterIdentity)],
    ["last answer", since(registry.lastAnswerTime)],
    ["watched by", printable(watcher)],
    ["services", String(registry.watchedServices)],
    ["used by", printable(users.join(", "))],
  ].filter(([, value]) => value !== "");
  const lines = rows.map(([label = "", value = ""]) => `  ${label.padEnd(12)} ${value}`);
  const changes = history.toReversed().map((change) => {
    const words = change.problem === undefined ? "" : `  ${printable(change.problem.message)}`;
    return `  ${since(change.time).padEnd(12)} ${healthOf(change.problem, style)}${words}`;
  });
  return [title, ...lines, ...(changes.length > 0 ? ["  history, the newest first:", ...changes] : [])].join("\n");
}

const healthOf = (problem: DiscoveryProblem | undefined, style: Paint) =>
  problem === undefined ? style("green", "ANSWERS") : style("red", problem.kind.toUpperCase());

/** Under each row what is wrong with it. */
export function withNotes(text: string, notes: readonly (readonly string[])[], style: Paint): string {
  const [head = "", ...lines] = text.split("\n");
  const body = lines.flatMap((line, at) => [
    line,
    ...(notes[at] ?? []).map((note) => `  ${style("red", "└─")} ${printable(note)}`),
  ]);
  return [style("dim", head), ...body].join("\n");
}

/** How long ago, or never. */
export const since = (time: Timestamp | undefined) =>
  time === undefined ? "never" : `${ago(timestampDate(time), new Date())} ago`;
