import {
  type AccessLogFilter,
  type ComparisonFilter,
  ComparisonFilter_Op as Op,
  type RuntimeFilter,
} from "#envoy/config/accesslog/v3/accesslog_pb.ts";
import { AccessLogType } from "#envoy/data/accesslog/v3/accesslog_pb.ts";
import { FractionalPercent_DenominatorType as Denominator } from "#envoy/type/v3/percent_pb.ts";

import type { Place } from "../compile.ts";
import { compileHeaderMatcher } from "../route/matchers.ts";
import type { RequestRecord } from "./access-log.ts";
import { grpcStatus } from "../grpc-status.ts";

/** Whether a request is one that a log, or a rule for local replies, is for. */
export type RecordTest = (record: RequestRecord) => boolean;

/** Compiles an AccessLogFilter. Undefined: a problem was reported. */
export function compileLogFilter(filter: AccessLogFilter, place: Place): RecordTest | undefined {
  const { filterSpecifier: specifier } = filter;
  switch (specifier.case) {
    case "statusCodeFilter": {
      const compare = compileComparison(specifier.value.comparison, place.field("status_code_filter"));
      return compare && (({ status }) => compare(status));
    }
    case "durationFilter": {
      const compare = compileComparison(specifier.value.comparison, place.field("duration_filter"));
      return (
        compare && (({ startedAt, endAt }) => compare(Math.floor((endAt < 0 ? performance.now() : endAt) - startedAt)))
      );
    }
    // No filter of this proxy answers health checks.
    case "notHealthCheckFilter":
      return () => true;
    case "traceableFilter":
      return ({ trace }) => trace?.traced === true;
    case "runtimeFilter":
      return compileSampling(specifier.value);
    case "andFilter": {
      const tests = compileAll(specifier.value.filters, place.field("and_filter"));
      return tests && ((record) => tests.every((test) => test(record)));
    }
    case "orFilter": {
      const tests = compileAll(specifier.value.filters, place.field("or_filter"));
      return tests && ((record) => tests.some((test) => test(record)));
    }
    case "headerFilter": {
      const { header } = specifier.value;
      const test = header && compileHeaderMatcher(header, place.field("header_filter").field("header"));
      return test && (({ head }) => head !== undefined && test(head));
    }
    case "responseFlagFilter": {
      const wanted = new Set(specifier.value.flags);
      return ({ flags }) => (wanted.size === 0 ? flags.length > 0 : flags.some((flag) => wanted.has(flag)));
    }
    case "grpcStatusFilter": {
      const wanted = new Set<number>(specifier.value.statuses);
      const { exclude } = specifier.value;
      return (record) => wanted.has(grpcStatus(record) ?? 2) !== exclude;
    }
    case "logTypeFilter": {
      // Ours are all of one type.
      const { types, exclude } = specifier.value;
      const passes = types.includes(AccessLogType.DownstreamEnd) !== exclude;
      return () => passes;
    }
    case "metadataFilter":
      place.field("metadata_filter").refuse("not supported");
      return undefined;
    case "extensionFilter":
      place.field("extension_filter").refuse("not supported (such as CEL expressions)");
      return undefined;
    case undefined:
      place.refuse("one of the filters must be set");
      return undefined;
  }
}

function compileAll(filters: readonly AccessLogFilter[], place: Place): RecordTest[] | undefined {
  const tests = filters.map((filter, index) => compileLogFilter(filter, place.item("filters", index)));
  return tests.every((test) => test !== undefined) ? tests : undefined;
}

/** Runtime values are not supported, so that the default is the value. */
function compileComparison(
  comparison: ComparisonFilter | undefined,
  place: Place,
): ((value: number) => boolean) | undefined {
  const wanted = comparison?.value?.defaultValue ?? 0;
  switch (comparison?.op) {
    case Op.EQ:
      return (value) => value === wanted;
    case Op.GE:
      return (value) => value >= wanted;
    case Op.LE:
      return (value) => value <= wanted;
    default:
      place.field("comparison").field("op").refuse("unknown value");
      return undefined;
  }
}

const denominators: Readonly<Record<Denominator, number>> = {
  [Denominator.HUNDRED]: 100,
  [Denominator.TEN_THOUSAND]: 10_000,
  [Denominator.MILLION]: 1_000_000,
};

/** A share of requests, drawn by the request's id, so that all proxies on its way log the same ones (Envoy RuntimeFilter). */
function compileSampling({ percentSampled, useIndependentRandomness }: RuntimeFilter): RecordTest {
  const numerator = percentSampled?.numerator ?? 0;
  const denominator = denominators[percentSampled?.denominator ?? Denominator.HUNDRED] ?? 100;
  return ({ requestId }) => {
    const id = useIndependentRandomness ? undefined : /^[0-9a-f]{8}/i.exec(requestId ?? "")?.[0];
    const drawn = id === undefined ? Math.floor(Math.random() * denominator) : Number.parseInt(id, 16) % denominator;
    return drawn < numerator;
  };
}
