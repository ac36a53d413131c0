import { headerReader, queryParameter } from "../route/matchers.ts";
import { pathOnly, toWire } from "../route/text.ts";
import { grpcStatus, grpcStatusNames, isGrpc } from "../grpc-status.ts";
import type { Operator } from "./operators.ts";

/** GRPC_STATUS(CAMEL_STRING | SNAKE_STRING | NUMBER); unset unless the request is a gRPC one. What is wrong is returned as text. */
export function grpcStatusOperator(argument: string | undefined): Operator | string {
  const style = argument ?? "CAMEL_STRING";
  if (style !== "CAMEL_STRING" && style !== "SNAKE_STRING" && style !== "NUMBER") {
    return "%GRPC_STATUS% takes CAMEL_STRING, SNAKE_STRING or NUMBER";
  }
  return (record) => {
    if (record.head === undefined || !isGrpc(record.head.headers)) return undefined;
    const status = grpcStatus(record);
    if (status === undefined || style === "NUMBER") return status;
    const name = grpcStatusNames[status];
    if (name === undefined) return String(status);
    return style === "CAMEL_STRING" || status === 0 ? name : name.replace(/(?<=.)[A-Z]/g, "_$&").toUpperCase();
  };
}

/** ENVIRONMENT(X): a variable of this process, read once. */
export function environmentOperator(argument: string | undefined): Operator | string {
  if (argument === undefined || argument === "") return "%ENVIRONMENT% needs the name of a variable";
  const value = process.env[argument];
  // As Envoy, which writes "-" in JSON as well.
  const wire = value === undefined ? "-" : toWire(value);
  return () => wire;
}

/** QUERY_PARAM(X): the first of that name, with its escapes decoded. */
export function queryParamOperator(argument: string | undefined): Operator | string {
  if (argument === undefined || argument === "") return "%QUERY_PARAM% needs the name of a parameter";
  const name = toWire(argument);
  return ({ head }) => {
    const value = head && queryParameter(head.path, name);
    return value?.replace(/%([0-9a-f]{2})/gi, (_, digits: string) => String.fromCharCode(Number.parseInt(digits, 16)));
  };
}

/**
 * PATH(WQ|NQ:ORIG|PATH|ORIG_OR_PATH): the path with or without its query; the one before rewrites, the present one, or the first of the two
 * that there is.
 */
export function pathOperator(argument: string | undefined): Operator | string {
  const [query = "WQ", which = "ORIG_OR_PATH", ...more] = argument === undefined ? [] : argument.split(":");
  const original = headerReader("x-envoy-original-path");
  const present = headerReader(":path");
  const reader = { ORIG: original, PATH: present, ORIG_OR_PATH: undefined };
  if ((query !== "WQ" && query !== "NQ") || !Object.hasOwn(reader, which) || more.length > 0) {
    return "%PATH% takes WQ or NQ, and ORIG, PATH or ORIG_OR_PATH";
  }
  const read = reader[which as keyof typeof reader];
  return ({ head }) => {
    if (head === undefined) return undefined;
    const path = read === undefined ? (original(head) ?? present(head)) : read(head);
    return path === undefined || query === "WQ" ? path : pathOnly(path);
  };
}

/** DYNAMIC_METADATA(namespace:key:…): what a filter left; text as it is, everything else as JSON. */
export function metadataOperator(argument: string | undefined): Operator | string {
  const [namespace = "", ...keys] = argument?.split(":") ?? [];
  if (namespace === "") return "%DYNAMIC_METADATA% needs a namespace";
  return ({ dynamicMetadata }) => {
    let value: unknown = dynamicMetadata?.get(namespace);
    for (const key of keys) {
      value = typeof value === "object" && value !== null ? (value as Record<string, unknown>)[key] : undefined;
    }
    if (value === undefined || value === null) return undefined;
    return toWire(typeof value === "string" ? value : JSON.stringify(value));
  };
}
