import { create } from "@bufbuild/protobuf";

import {
  type HeaderValueOption,
  HeaderValueOption_HeaderAppendAction,
  HeaderValueOptionSchema,
} from "#envoy/config/core/v3/base_pb.ts";
import type { Route } from "#sluice/model/v1/route_pb.ts";
import type { HeaderMutations } from "#sluice/model/v1/headers_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

/**
 * What a route and its service change in headers, in the fields of an Envoy route. A virtual host may be that of many services, so that
 * the service's changes stand with each of its routes, behind the route's own.
 */
export function toHeaderMutations(service: Service, route: Route) {
  const request = [route.requestHeaders, service.requestHeaders];
  const response = [route.responseHeaders, service.responseHeaders];
  if (!changesHeaders(service, route)) return {};
  return {
    // A value of command operators may come to nothing, as that of a client's certificate where there is none. Left out then, it would leave
    // what the client itself has put there, which the upstream takes for ours.
    requestHeadersToAdd: request.flatMap((mutations) => options(mutations, isComputed)),
    requestHeadersToRemove: removed(request),
    responseHeadersToAdd: response.flatMap((mutations) => options(mutations)),
    responseHeadersToRemove: removed(response),
  };
}

/** Whether there is anything to change; for most routes there is not. */
export const changesHeaders = (service: Service, route: Route): boolean =>
  [route.requestHeaders, service.requestHeaders, route.responseHeaders, service.responseHeaders].some(
    (mutations) => mutations !== undefined,
  );

/** @param staysEmpty which values are set though they come to nothing */
function options(
  mutations: HeaderMutations | undefined,
  staysEmpty: (value: string) => boolean = () => false,
): HeaderValueOption[] {
  const { OVERWRITE_IF_EXISTS_OR_ADD, APPEND_IF_EXISTS_OR_ADD } = HeaderValueOption_HeaderAppendAction;
  return [
    ...Object.entries(mutations?.set ?? {}).map(([key, value]) =>
      option(key, value, OVERWRITE_IF_EXISTS_OR_ADD, staysEmpty(value)),
    ),
    ...Object.entries(mutations?.add ?? {}).map(([key, value]) => option(key, value, APPEND_IF_EXISTS_OR_ADD, false)),
  ];
}

const option = (
  key: string,
  value: string,
  appendAction: HeaderValueOption_HeaderAppendAction,
  staysEmpty: boolean,
): HeaderValueOption =>
  create(HeaderValueOptionSchema, {
    header: { key: key.toLowerCase(), value },
    appendAction,
    // A field may be set to nothing.
    keepEmptyValue: value === "" || staysEmpty,
  });

/** Whether a value has command operators. */
const isComputed = (value: string): boolean => value.replaceAll("%%", "").includes("%");

const removed = (all: readonly (HeaderMutations | undefined)[]): string[] => [
  ...new Set(all.flatMap((mutations) => mutations?.remove ?? []).map((name) => name.toLowerCase())),
];
