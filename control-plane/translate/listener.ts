import { create } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import { HttpProtocolOptions_HeadersWithUnderscoresAction } from "#envoy/config/core/v3/protocol_pb.ts";
import { type Listener as EnvoyListener, ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { FilterChainSchema, FilterSchema } from "#envoy/config/listener/v3/listener_components_pb.ts";
import { RouterSchema } from "#envoy/extensions/filters/http/router/v3/router_pb.ts";
import {
  type HttpConnectionManager,
  HttpConnectionManager_CodecType,
  HttpConnectionManager_PathWithEscapedSlashesAction,
  HttpConnectionManagerSchema,
} from "#envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager_pb.ts";
import { TlsInspectorSchema } from "#envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts";
import { type GatewayGroup, type Listener, ListenerProtocol } from "#sluice/model/v1/gateway_group_pb.ts";

import { toAccessLogs } from "./access-log.ts";
import { extension } from "./any.ts";
import { type CertificateIndex, toTlsFilterChains } from "./filter-chains.ts";
import { ROUTE_CONFIGURATION } from "./names.ts";

/** Only this machine, until the operator opens it up. */
const ADDRESS_DEFAULT = "127.0.0.1";

const IDLE_TIMEOUT_MS = 3_600_000;
const STREAM_IDLE_TIMEOUT_MS = 300_000;
const REQUEST_HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_HEADERS_KB_MAX = 60;

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
  const isTls = listener.protocol === ListenerProtocol.HTTPS;
  const filterChains = isTls
    ? toTlsFilterChains(listener, certificates, [filter])
    : [create(FilterChainSchema, { filters: [filter] })];
  if (filterChains.length === 0) return undefined;
  return create(ListenerSchema, {
    name: listener.name,
    address: {
      address: {
        case: "socketAddress",
        value: {
          address: listener.address || ADDRESS_DEFAULT,
          portSpecifier: { case: "portValue", value: listener.port },
        },
      },
    },
    // Reads the server name, by which the chain is chosen.
    listenerFilters: isTls
      ? [extension("envoy.filters.listener.tls_inspector", TlsInspectorSchema, create(TlsInspectorSchema))]
      : [],
    filterChains,
  });
}

function connectionManager(group: GatewayGroup, listener: Listener): HttpConnectionManager {
  return create(HttpConnectionManagerSchema, {
    // By ALPN, or by the client's first bytes.
    codecType: listener.http2 === true ? HttpConnectionManager_CodecType.AUTO : HttpConnectionManager_CodecType.HTTP1,
    statPrefix: listener.name,
    routeSpecifier: {
      case: "rds",
      value: {
        routeConfigName: ROUTE_CONFIGURATION,
        configSource: { configSourceSpecifier: { case: "ads", value: {} } },
      },
    },
    httpFilters: [extension("envoy.filters.http.router", RouterSchema, create(RouterSchema))],
    serverName: "sluice",
    accessLog: toAccessLogs(group.accessLog),
    // Data planes stand at the edge: the client is the peer, and nobody's x-forwarded-for or x-envoy-* is believed.
    useRemoteAddress: true,
    commonHttpProtocolOptions: {
      idleTimeout: durationFromMs(IDLE_TIMEOUT_MS),
      // Upstreams that turn "-" into "_" (CGI) would confuse X_User with X-User.
      headersWithUnderscoresAction: HttpProtocolOptions_HeadersWithUnderscoresAction.DROP_HEADER,
    },
    maxRequestHeadersKb: REQUEST_HEADERS_KB_MAX,
    streamIdleTimeout: durationFromMs(STREAM_IDLE_TIMEOUT_MS),
    requestHeadersTimeout: durationFromMs(REQUEST_HEADERS_TIMEOUT_MS),
    // Routes must see the path that the upstream will see, or a route that guards a path could be walked around.
    normalizePath: true,
    mergeSlashes: false,
    pathWithEscapedSlashesAction: HttpConnectionManager_PathWithEscapedSlashesAction.REJECT_REQUEST,
    // Routes switch it on (translate/route-action.ts).
    upgradeConfigs: [{ upgradeType: "websocket", enabled: false }],
  });
}
