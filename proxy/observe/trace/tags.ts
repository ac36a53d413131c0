import type { CustomTag } from "#envoy/type/tracing/v3/custom_tag_pb.ts";

import type { Place } from "../../compile.ts";
import { fromWire } from "../../route/text.ts";
import type { RequestRecord } from "../access-log.ts";
import { grpcStatus, grpcStatusNames, isGrpc } from "../../grpc-status.ts";

/** Adds to a span's tags what the operator asks for. */
export type TagMaker = (record: RequestRecord) => readonly [name: string, value: string] | undefined;

/** Compiles a CustomTag; "" and what is missing make no tag. Undefined: a problem was reported. */
export function compileTag({ tag, type }: CustomTag, place: Place): TagMaker | undefined {
  switch (type.case) {
    case "literal": {
      const made = [tag, type.value.value] as const;
      return () => made;
    }
    case "environment": {
      const value = process.env[type.value.name] ?? type.value.defaultValue;
      const made = value === "" ? undefined : ([tag, value] as const);
      return () => made;
    }
    case "requestHeader": {
      const { name, defaultValue } = type.value;
      const lower = name.toLowerCase();
      return ({ head }) => {
        const value = head?.headers.get(lower);
        const text = value === undefined ? defaultValue : fromWire(value);
        return text === "" ? undefined : [tag, text];
      };
    }
    case "metadata":
      place.field("metadata").refuse("not supported");
      return undefined;
    case undefined:
      place.refuse("one of literal, environment, request_header must be set");
      return undefined;
  }
}

type Tags = (readonly [name: string, value: string])[];

/** The tags of the request as the client sent it (Envoy HttpTracerUtility::finalizeDownstreamSpan). */
export function requestTags(record: RequestRecord, nodeId: string, pathLengthMax: number): Tags {
  const { head, peer } = record;
  const tags: Tags = [];
  if (head !== undefined) {
    const header = (name: string) => fromWire(head.headers.get(name) ?? "-");
    const url = `${head.scheme}://${head.authority}${record.originalPath.slice(0, pathLengthMax)}`;
    if (record.requestId !== undefined) tags.push(["guid:x-request-id", record.requestId]);
    tags.push(["http.url", fromWire(url)], ["http.method", head.method]);
    tags.push(["downstream_cluster", header("x-envoy-downstream-service-cluster")]);
    tags.push(["user_agent", header("user-agent")], ["http.protocol", record.protocol ?? "-"]);
    tags.push(["peer.address", peer.downstreamRemoteAddress]);
    const client = head.headers.get("x-client-trace-id");
    if (client !== undefined) tags.push(["guid:x-client-trace-id", fromWire(client)]);
  }
  tags.push(["request_size", String(record.bytesReceived)], ["response_size", String(record.bytesSent)]);
  tags.push(["node_id", nodeId]);
  return tags;
}

/** The tags of what came of it, on spans of either side (Envoy setCommonTags). */
export function responseTags(record: RequestRecord): Tags {
  const { upstreamCluster, upstreamClusterRaw, status, flags, head } = record;
  const tags: Tags = [["component", "proxy"]];
  if (upstreamClusterRaw !== undefined) tags.push(["upstream_cluster", upstreamClusterRaw]);
  if (upstreamCluster !== undefined) tags.push(["upstream_cluster.name", upstreamCluster]);
  tags.push(["http.status_code", String(status)], ["response_flags", flags.length === 0 ? "-" : flags.join(",")]);
  if (head !== undefined && isGrpc(head.headers)) {
    const code = grpcStatus(record) ?? 2;
    const [, service, method] = head.path.split("/");
    tags.push(["grpc.path", fromWire(head.path)], ["grpc.authority", fromWire(head.authority)]);
    if (service !== undefined && method !== undefined) tags.push(["grpc.status_code", String(code)]);
    tags.push(["grpc.message", grpcStatusNames[code] ?? String(code)]);
  }
  if (failed(record)) tags.push(["error", "true"]);
  return tags;
}

/** The further tags of a span that is the call of the upstream (Envoy finalizeUpstreamSpan). */
export function upstreamTags({ upstreamHost }: RequestRecord): Tags {
  const tags: Tags = [["http.protocol", "HTTP/1.1"]];
  if (upstreamHost !== undefined) tags.push(["upstream_address", upstreamHost], ["peer.address", upstreamHost]);
  return tags;
}

/** Whether the request counts as an error of the server's side: 5xx, or no response at all. */
export const failed = ({ status }: RequestRecord): boolean => status === 0 || status >= 500;
