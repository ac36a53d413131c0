import type { DataSource } from "#envoy/config/core/v3/base_pb.ts";
import type { SubstitutionFormatString } from "#envoy/config/core/v3/substitution_format_string_pb.ts";
import type {
  LocalReplyConfig,
  ResponseMapper,
} from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";

import type { Place } from "../compile.ts";
import type { Headers } from "../headers.ts";
import { isFieldValue } from "../http1/chars.ts";
import type { RequestRecord } from "../observe/access-log.ts";
import { compileFormat } from "../observe/compile.ts";
import type { Format } from "../observe/format.ts";
import { compileLogFilter, type RecordTest } from "../observe/log-filter.ts";
import { compileHeaderMutation, type HeaderMutation } from "../route/header-mutations.ts";

/** An answer of our own in its final form. */
export interface RewrittenReply {
  readonly status: number;
  readonly body: string;
  readonly contentType: string;
}

/** Gives an answer of our own the form that the operator wants. The record's status is the one the answer has so far, and is left as it ends. */
export type ReplyRewrite = (body: string, headers: Headers, record: RequestRecord) => RewrittenReply;

interface BodyFormat {
  readonly format: Format;
  readonly contentType: string;
}

interface Mapper {
  readonly applies: RecordTest;
  /** 0: the one that it has. */
  readonly status: number;
  readonly body: string | undefined;
  readonly mutation: HeaderMutation | undefined;
  readonly format: BodyFormat | undefined;
}

/** Compiles local_reply_config (Envoy LocalReplyImpl): the first mapper that applies, then the body format. Undefined: there is nothing to do. */
export function compileLocalReplies(config: LocalReplyConfig | undefined, place: Place): ReplyRewrite | undefined {
  if (config === undefined) return undefined;
  const mappers = config.mappers.flatMap((mapper, index) => compileMapper(mapper, place.item("mappers", index)) ?? []);
  const { bodyFormat } = config;
  const common = bodyFormat === undefined ? AS_IT_IS : compileBodyFormat(bodyFormat, place.field("body_format"));
  if (mappers.length === 0 && bodyFormat === undefined) return undefined;
  return (body, headers, record) => {
    record.responseHeaders = headers;
    record.localReplyBody = body;
    const mapper = mappers.find(({ applies }) => applies(record));
    if (mapper?.body !== undefined) record.localReplyBody = mapper.body;
    mapper?.mutation?.(headers, record);
    if (mapper !== undefined && mapper.status !== 0) record.status = mapper.status;
    const { format, contentType } = mapper?.format ?? common;
    return { status: record.status, body: format(record), contentType };
  };
}

const AS_IT_IS: BodyFormat = { format: ({ localReplyBody }) => localReplyBody ?? "", contentType: "text/plain" };

function compileMapper(mapper: ResponseMapper, place: Place): Mapper | undefined {
  const applies = mapper.filter && compileLogFilter(mapper.filter, place.field("filter"));
  const mutation = compileHeaderMutation({
    add: mapper.headersToAdd,
    remove: [],
    addPlace: (index) => place.item("headers_to_add", index),
    removePlace: () => place,
  });
  const body = mapper.body && compileText(mapper.body, place.field("body"));
  const override = mapper.bodyFormatOverride;
  const format = override && compileBodyFormat(override, place.field("body_format_override"));
  if (mapper.filter === undefined) place.field("filter").refuse("must be set");
  return applies && { applies, status: mapper.statusCode ?? 0, body, mutation, format };
}

function compileBodyFormat(message: SubstitutionFormatString, place: Place): BodyFormat {
  const isJson = message.format.case === "jsonFormat";
  if (!isFieldValue(message.contentType)) place.field("content_type").refuse("is not a header value");
  return {
    // A reply is no log: its lines may have ends.
    format: compileFormat(message, "%LOCAL_REPLY_BODY%", place, "raw"),
    contentType: message.contentType || (isJson ? "application/json" : "text/plain"),
  };
}

function compileText({ specifier }: DataSource, place: Place): string | undefined {
  if (specifier.case === "inlineString") return specifier.value;
  if (specifier.case === "inlineBytes") return Buffer.from(specifier.value).toString("utf8");
  place.refuse("only inline_string and inline_bytes are supported");
  return undefined;
}
