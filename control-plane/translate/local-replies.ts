import { create } from "@bufbuild/protobuf";

import { ComparisonFilter_Op } from "#envoy/config/accesslog/v3/accesslog_pb.ts";
import { SubstitutionFormatStringSchema } from "#envoy/config/core/v3/substitution_format_string_pb.ts";
import {
  type LocalReplyConfig,
  LocalReplyConfigSchema,
  type ResponseMapper,
  ResponseMapperSchema,
} from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import type { LocalReply } from "#sluice/model/v1/gateway_group_pb.ts";

import { joined, statusFilter } from "./log-filters.ts";

/** The form of answers that data planes give by themselves; undefined where they keep their own. */
export function toLocalReplies(replies: readonly LocalReply[]): LocalReplyConfig | undefined {
  if (replies.length === 0) return undefined;
  return create(LocalReplyConfigSchema, { mappers: replies.map(toMapper) });
}

function toMapper({ minStatus, maxStatus, status, body, contentType }: LocalReply): ResponseMapper {
  const bounds = [
    // A mapper must have a filter; every status is at least 0.
    ...(minStatus > 0 || maxStatus === 0 ? [statusFilter(ComparisonFilter_Op.GE, minStatus)] : []),
    ...(maxStatus > 0 ? [statusFilter(ComparisonFilter_Op.LE, maxStatus)] : []),
  ];
  return create(ResponseMapperSchema, {
    filter: joined("andFilter", bounds),
    statusCode: status || undefined,
    bodyFormatOverride:
      body === ""
        ? undefined
        : create(SubstitutionFormatStringSchema, {
            format: { case: "textFormatSource", value: { specifier: { case: "inlineString", value: body } } },
            contentType,
          }),
  });
}
