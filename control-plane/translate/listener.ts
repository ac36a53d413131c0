import { create } from "@bufbuild/protobuf";

import { type Listener as EnvoyListener, ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { type Filter, FilterChainSchema, FilterSchema } from "#envoy/config/listener/v3/listener_components_pb.ts";
import { RouterSchema } from "#envoy/extensions/filters/http/router/v3/router_pb.ts";
import { ConnectionLimitSchema } from "#envoy/extensions/filters/network/connection_limit/v3/connection_limit_pb.ts";
import {
  type HttpConnectionManager,
  HttpConnectionManager_CodecType,
  HttpConnectionManagerSchema,
} from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { GrpcWebSchema } from "#envoy/extensions/filters/http/grpc_web/v3/grpc_web_pb.ts";
import { ProxyProtocolSchema } from "#envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol_pb.ts";
import { TlsInspectorSchema } from "#envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts";
import { type GatewayGroup, type Listener, ListenerProtocol } from "#sluice/model/v1/gateway_group_pb.ts";

import { canonicalAddress } from "../model/hosts.ts";
import { toAccessLogs } from "./access-log.ts";
import { extension } from "./any.ts";
import { type CertificateIndex, toTlsFilterChains } from "./filter-chains.ts";
import { speaksHttp2, toHttp2Options } from "./http2-options.ts";
import { toHttpOptions } from "./http-options.ts";
import { toLocalReplies } from "./local-replies.ts";
import { toBodyRates, toConnectionLimits } from "./own-metadata.ts";
import { ROUTE_CONFIGURATION } from "./names.ts";
import { toTracing } from "./tracing.ts";

/** Only this machine, until the operator opens it up. */
const ADDRESS_DEFAULT = "127.0.0.1";

/**
 * A listener of a group, bound to the group's routes. Undefined for one of TLS as long as there is no certificate for it: data planes
 * refuse listeners that nobody can connect to.
 */
export function toListener(
  group: GatewayGroup,
  listener: Listener,
  certificates: CertificateIndex,
): EnvoyListener | undefined {
  const filter = create(
    FilterSchema,
    extension(
      "envoy.filters.network.http_connection_manager",
      HttpConnectionManagerSchema,
      connectionManager(group, listener),
    ),
  );
  const filters = [...connectionLimit(listener), filter];
  const metadata = toBodyRates(listener.http?.bodyRates);
  const isTls = listener.protocol === ListenerProtocol.HTTPS;
  const filterChains = isTls
    ? toTlsFilterChains(listener, certificates, filters, metadata)
    : [create(FilterChainSchema, { filters, metadata })];
  if (filterChains.length === 0) return undefined;
  return create(ListenerSchema, {
    name: listener.name,
    address: {
      address: {
        case: "socketAddress",
        value: {
          address: listener.address || ADDRESS_DEFAULT,
          portSpecifier: { case: "portValue", value: listener.port },
          // Envoy would leave IPv4 out.
          ipv4Compat: canonicalAddress(listener.address) === "::",
        },
      },
    },
    // Reads the server name, by which the chain is chosen.
    listenerFilters: [
      // Before all others: what it reads comes before the TLS handshake.
      ...(listener.proxyProtocol
        ? [extension("envoy.filters.listener.proxy_protocol", ProxyProtocolSchema, create(ProxyProtocolSchema))]
        : []),
      ...(isTls
        ? [extension("envoy.filters.listener.tls_inspector", TlsInspectorSchema, create(TlsInspectorSchema))]
        : []),
    ],
    filterChains,
    metadata: toConnectionLimits(listener),
  });
}

/** Closes connections beyond the limit as they come in. */
function connectionLimit({ name, maxConnections }: Listener): Filter[] {
  if (maxConnections === 0) return [];
  const limit = create(ConnectionLimitSchema, { statPrefix: name, maxConnections: BigInt(maxConnections) });
  return [create(FilterSchema, extension("envoy.filters.network.connection_limit", ConnectionLimitSchema, limit))];
}

function connectionManager(group: GatewayGroup, listener: Listener): HttpConnectionManager {
  return create(HttpConnectionManagerSchema, {
    // By ALPN, or by the client's first bytes.
    codecType: speaksHttp2(listener) ? HttpConnectionManager_CodecType.AUTO : HttpConnectionManager_CodecType.HTTP1,
    ...(speaksHttp2(listener) && { http2ProtocolOptions: toHttp2Options() }),
    statPrefix: listener.name,
    routeSpecifier: {
      case: "rds",
      value: {
        routeConfigName: ROUTE_CONFIGURATION,
        configSource: { configSourceSpecifier: { case: "ads", value: {} } },
      },
    },
    httpFilters: [
      ...(listener.http?.grpcWeb === true
        ? [extension("envoy.filters.http.grpc_web", GrpcWebSchema, create(GrpcWebSchema))]
        : []),
      extension("envoy.filters.http.router", RouterSchema, create(RouterSchema)),
    ],
    ...toHttpOptions(listener.http),
    accessLog: toAccessLogs(group.accessLog),
    tracing: toTracing(group.tracing),
    localReplyConfig: toLocalReplies(group.localReplies),
    // Routes switch it on (translate/route-action.ts).
    upgradeConfigs: [{ upgradeType: "websocket", enabled: false }],
  });
}
