import type { Listener } from "#envoy/config/listener/v3/listener_pb.ts";
import { ProxyProtocolConfig_Version as Version } from "#envoy/config/core/v3/proxy_protocol_pb.ts";
import { HttpInspectorSchema } from "#envoy/extensions/filters/listener/http_inspector/v3/http_inspector_pb.ts";
import {
  type ProxyProtocol,
  ProxyProtocolSchema,
} from "#envoy/extensions/filters/listener/proxy_protocol/v3/proxy_protocol_pb.ts";
import { TlsInspectorSchema } from "#envoy/extensions/filters/listener/tls_inspector/v3/tls_inspector_pb.ts";
import { unpack } from "#proto/registry.ts";

import { durationMs, type Place } from "../compile.ts";
import type { Inspection } from "./inspector.ts";
import type { FilterChainOptions } from "./options.ts";

/** Envoy's listener_filters_timeout (proxy-parity part 4). */
const TIMEOUT_MS_DEFAULT = 15_000;

/** What the listener filters of a Listener come to; undefined: nothing is looked at. */
export function compileInspection(
  message: Listener,
  compiled: readonly FilterChainOptions[],
  place: Place,
): Inspection | undefined {
  const chains = message.filterChains.map(({ filterChainMatch }) => filterChainMatch);
  // As Envoy, which adds a tls_inspector where matches can't do without one.
  let tls = chains.some(
    (match) => match !== undefined && (match.serverNames.length > 0 || match.transportProtocol === "tls"),
  );
  // A certificate is chosen before the handshake (tls-server.ts).
  if (compiled.some((chain) => (chain.tls?.certificates.length ?? 0) > 1)) tls = true;
  let http = false;
  let proxyProtocol: Inspection["proxyProtocol"];
  message.listenerFilters.forEach(({ configType }, index) => {
    const at = place.item("listener_filters", index).field("typed_config");
    const unpacked = configType.case === "typedConfig" ? unpack(configType.value) : undefined;
    const typeName = unpacked?.kind === "message" ? unpacked.schema.typeName : undefined;
    if (typeName === TlsInspectorSchema.typeName) tls = true;
    else if (typeName === HttpInspectorSchema.typeName) http = true;
    else if (typeName === ProxyProtocolSchema.typeName && unpacked?.kind === "message") {
      proxyProtocol = compileProxyProtocol(unpacked.message as ProxyProtocol);
    } else at.refuse("only TlsInspector, HttpInspector and ProxyProtocol are supported");
  });
  // Which protocols are meant is only known from their names: TLS's in a ClientHello, others in the first request line.
  const protocols = chains.flatMap((match) => match?.applicationProtocols ?? []);
  if (protocols.length > 0 && !http) tls = true;
  if (!tls && !http && proxyProtocol === undefined) return undefined;
  return {
    proxyProtocol,
    tls,
    http,
    timeoutMs: durationMs(message.listenerFiltersTimeout, TIMEOUT_MS_DEFAULT),
    continueOnTimeout: message.continueOnListenerFiltersTimeout,
  };
}

const compileProxyProtocol = (message: ProxyProtocol): Inspection["proxyProtocol"] => ({
  v1: !message.disallowedVersions.includes(Version.V1),
  v2: !message.disallowedVersions.includes(Version.V2),
  optional: message.allowRequestsWithoutProxyProtocol,
});
