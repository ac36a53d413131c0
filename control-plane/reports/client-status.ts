/** What the client status service (CSDS) says of data planes: the server's view of each resource that each of them wants (L2). */
import { setImmediate as turn } from "node:timers/promises";

import { clone, create, fromBinary, toBinary } from "@bufbuild/protobuf";
import { type Any, timestampFromMs } from "@bufbuild/protobuf/wkt";
import { status } from "@grpc/grpc-js";

import { NodeSchema } from "#envoy/config/core/v3/base_pb.ts";
import {
  type ClientConfig,
  type ClientConfig_GenericXdsConfig,
  ClientConfig_GenericXdsConfigSchema,
  ClientConfigSchema,
  type ClientStatusRequest,
  type ClientStatusResponse,
  ClientStatusResponseSchema,
  ConfigStatus,
} from "#envoy/service/status/v3/csds_pb.ts";
import { redact } from "#proto/redact.ts";
import { servedType, servedTypeByUrl } from "#proto/resource-types.ts";

import type { Refusal } from "../xds/admission.ts";
import type { CachedResource } from "../xds/cache.ts";
import type { ConnectedClients } from "../xds/connected-clients.ts";
import type { WantedResource, WantedState } from "../xds/wanted-resources.ts";
import { anyOf } from "../xds/wire.ts";
import { compileNodeMatchers } from "./node-matcher.ts";

/** Of all resources in one answer, and of entries in it; whoever asks for more has to say which nodes, or to do without contents. */
const CONTENT_BYTES_MAX = 32 * 1024 * 1024;
const ENTRIES_MAX = 500_000;

/** Entries that are made in one turn of the event loop. */
const ENTRIES_PER_TURN = 500;

const SDS = servedType("SDS").typeUrl;

const configStatus: Record<WantedState, ConfigStatus> = {
  synced: ConfigStatus.SYNCED,
  stale: ConfigStatus.STALE,
  error: ConfigStatus.ERROR,
  not_sent: ConfigStatus.NOT_SENT,
};

/**
 * Answers one request.
 *
 * @param maySee whether the caller may know of a gateway group; nodes of others are left out without a word
 */
export async function clientStatus(
  clients: ConnectedClients,
  request: ClientStatusRequest,
  maySee: (gatewayGroup: string) => boolean,
): Promise<ClientStatusResponse | Refusal> {
  const matches = compileNodeMatchers(request.nodeMatchers);
  if ("problem" in matches) return { code: status.INVALID_ARGUMENT, details: matches.problem };
  const contents = request.excludeResourceContents ? undefined : new Contents();
  const configs = new Map<string, ClientConfig>();
  let entries = 0;
  for (const client of clients.list()) {
    const { node, gatewayGroup } = client;
    if (!maySee(gatewayGroup) || !matches(node)) continue;
    // A node may have several streams, for separate services.
    const key = JSON.stringify([gatewayGroup, node.id]);
    const config = configs.get(key) ?? create(ClientConfigSchema, { node: clone(NodeSchema, node) });
    configs.set(key, config);
    for (const resource of client.wanted()) {
      config.genericXdsConfigs.push(entryOf(resource, contents));
      if (++entries % ENTRIES_PER_TURN === 0) await turn();
      if (entries > ENTRIES_MAX || (contents !== undefined && contents.bytes > CONTENT_BYTES_MAX)) return tooMuch;
    }
  }
  return create(ClientStatusResponseSchema, { config: [...configs.values()] });
}

/** What the other control planes on the store say of their own clients. */
export type OtherClients = (request: ClientStatusRequest) => Promise<readonly ClientStatusResponse[]>;

/** The answers of several control planes as one: a node's streams may be to several. */
export function mergeClients(responses: readonly ClientStatusResponse[]): ClientStatusResponse {
  const configs = new Map<string, ClientConfig>();
  for (const config of responses.flatMap((response) => response.config)) {
    const key = JSON.stringify([config.node?.cluster, config.node?.id]);
    const before = configs.get(key);
    if (before === undefined) configs.set(key, config);
    else before.genericXdsConfigs.push(...config.genericXdsConfigs);
  }
  return create(ClientStatusResponseSchema, { config: [...configs.values()] });
}

const tooMuch: Refusal = {
  code: status.RESOURCE_EXHAUSTED,
  details: "the answer would be too large: name nodes by node_matchers, or set exclude_resource_contents",
};

function entryOf(found: WantedResource, contents: Contents | undefined): ClientConfig_GenericXdsConfig {
  const { typeUrl, name, state, resource, refusal } = found;
  const sinceMs = resource?.sinceMs ?? 0;
  return create(ClientConfig_GenericXdsConfigSchema, {
    ...{ typeUrl, name, versionInfo: resource?.version ?? "" },
    configStatus: configStatus[state],
    ...(resource !== undefined && { xdsConfig: contents?.show(typeUrl, resource) }),
    ...(sinceMs > 0 && { lastUpdated: timestampFromMs(sinceMs) }),
    ...(refusal !== undefined && {
      errorState: {
        details: refusal.reason,
        versionInfo: found.sentVersion,
        ...(refusal.timeMs !== undefined && { lastUpdateAttempt: timestampFromMs(refusal.timeMs) }),
      },
    }),
  });
}

/** Resources as they may be shown: without secrets, each made once for all nodes that have it. */
class Contents {
  readonly #shown = new Map<CachedResource, Any>();
  bytes = 0;

  show(typeUrl: string, resource: CachedResource): Any | undefined {
    const type = servedTypeByUrl.get(typeUrl);
    // Not even without its secrets: what is in an unknown field could be one.
    if (type === undefined || typeUrl === SDS || resource.sotw.length === 0) return undefined;
    let shown = this.#shown.get(resource);
    if (shown === undefined) {
      shown = anyOf(resource);
      shown.value = toBinary(type.schema, redact(type.schema, fromBinary(type.schema, shown.value)));
      this.#shown.set(resource, shown);
    }
    this.bytes += shown.value.length;
    return shown;
  }
}
