import { RE2JS } from "re2js";

import { prometheusText, statsValues } from "../observe/prometheus.ts";
import type { Sample } from "../observe/stats-reader.ts";
import { format, json, noSuchFormat, type Page, text } from "./page.ts";
import type { AdminSource } from "./source.ts";

const statsFormats = ["text", "json", "prometheus"] as const;

/** The statistics that a query asks for: `filter` is an expression on their dotted names, `usedonly` leaves out what never happened. */
function chosen(source: AdminSource, query: URLSearchParams): Sample[] | Page {
  const filter = query.get("filter");
  let pattern: RE2JS | undefined;
  try {
    // As in Envoy the expression may match anywhere in the name, and takes linear time.
    pattern = filter === null ? undefined : RE2JS.compile(filter);
  } catch (error) {
    return text(`filter is not a regular expression (RE2): ${error instanceof Error ? error.message : ""}`, 400);
  }
  const usedOnly = query.has("usedonly");
  return [...source.samples()].filter(
    (sample) => (!usedOnly || isUsed(sample)) && (pattern === undefined || pattern.matcher(sample.name).find()),
  );
}

const isUsed = (sample: Sample): boolean =>
  sample.kind === "histogram" ? sample.counts.some((count) => count > 0) : sample.value !== 0;

/** GET /stats/prometheus. */
export function prometheus(source: AdminSource, query: URLSearchParams): Page {
  const samples = chosen(source, query);
  if (!Array.isArray(samples)) return samples;
  return { status: 200, contentType: "text/plain; version=0.0.4; charset=utf-8", body: prometheusText(samples) };
}

/** GET /stats. */
export function stats(source: AdminSource, query: URLSearchParams): Page {
  const as = format(query, statsFormats);
  if (as === undefined) return noSuchFormat(statsFormats);
  if (as === "prometheus") return prometheus(source, query);
  const samples = chosen(source, query);
  if (!Array.isArray(samples)) return samples;
  const found = [...statsValues(samples)].sort(([a], [b]) => (a < b ? -1 : 1));
  if (as === "json") return json({ stats: found.map(([name, value]) => ({ name, value })) });
  return text(found.map(([name, value]) => `${name}: ${value}`).join("\n"));
}
