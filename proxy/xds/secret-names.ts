import type { TransportSocket } from "#envoy/config/core/v3/base_pb.ts";
import type { CommonTlsContext, DownstreamTlsContext } from "#envoy/extensions/transport_sockets/tls/v3/tls_pb.ts";
import { unpack } from "#proto/registry.ts";

const DOWNSTREAM = "envoy.extensions.transport_sockets.tls.v3.DownstreamTlsContext";
const UPSTREAM = "envoy.extensions.transport_sockets.tls.v3.UpstreamTlsContext";

/** The names of the secrets (SDS) that a transport socket needs: certificates, what peers are validated by, session ticket keys. */
export function secretNames(socket: TransportSocket | undefined): readonly string[] {
  const config = socket?.configType;
  if (config?.case !== "typedConfig") return [];
  const unpacked = unpack(config.value);
  if (unpacked.kind !== "message") return [];
  const { typeName } = unpacked.schema;
  if (typeName !== DOWNSTREAM && typeName !== UPSTREAM) return [];
  // Both have the part that names certificates; only a server has session ticket keys.
  const context = unpacked.message as { commonTlsContext?: CommonTlsContext } & Partial<DownstreamTlsContext>;
  const names = namesOf(context.commonTlsContext);
  const tickets = context.sessionTicketKeysType;
  if (tickets?.case === "sessionTicketKeysSdsSecretConfig") names.push(tickets.value.name);
  return names;
}

function namesOf(context: CommonTlsContext | undefined): string[] {
  const names = (context?.tlsCertificateSdsSecretConfigs ?? []).map(({ name }) => name);
  const validation = context?.validationContextType;
  if (validation?.case === "validationContextSdsSecretConfig") names.push(validation.value.name);
  if (validation?.case === "combinedValidationContext") {
    const combined = validation.value.validationContextSdsSecretConfig;
    if (combined !== undefined) names.push(combined.name);
  }
  return names;
}
