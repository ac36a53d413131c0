import { create } from "@bufbuild/protobuf";

import {
  type AccessLogFilter,
  AccessLogFilterSchema,
  type ComparisonFilter,
  ComparisonFilter_Op,
  ComparisonFilterSchema,
} from "#envoy/config/accesslog/v3/accesslog_pb.ts";

/** Takes requests whose answer has a status that compares so. */
export const statusFilter = (op: ComparisonFilter_Op, status: number): AccessLogFilter =>
  create(AccessLogFilterSchema, {
    filterSpecifier: { case: "statusCodeFilter", value: { comparison: comparison(op, status) } },
  });

/** Takes requests that took so long. */
export const durationFilter = (ms: number): AccessLogFilter =>
  create(AccessLogFilterSchema, {
    filterSpecifier: { case: "durationFilter", value: { comparison: comparison(ComparisonFilter_Op.GE, ms) } },
  });

/** Takes what any of the filters takes, or all of them; undefined, which takes everything, without filters. */
export function joined(
  how: "andFilter" | "orFilter",
  filters: readonly AccessLogFilter[],
): AccessLogFilter | undefined {
  const [only] = filters;
  if (filters.length <= 1) return only;
  return create(AccessLogFilterSchema, { filterSpecifier: { case: how, value: { filters: [...filters] } } });
}

// Envoy wants a key of its runtime, in which no value is: the default holds.
const comparison = (op: ComparisonFilter_Op, defaultValue: number): ComparisonFilter =>
  create(ComparisonFilterSchema, { op, value: { defaultValue, runtimeKey: "sluice.none" } });
