import { Code, ConnectError, type ConnectRouter, createContextValues } from "@connectrpc/connect";
import { connectNodeAdapter } from "@connectrpc/connect-node";

import { Health } from "#proto/gen/grpc/health/v1/health_pb.ts";
import { ServerReflection } from "#proto/gen/grpc/reflection/v1/reflection_pb.ts";
import { registry } from "#proto/registry.ts";
import { ServerReflection as ServerReflectionAlpha } from "#proto/gen/grpc/reflection/v1alpha/reflection_pb.ts";
import { ClientStatusDiscoveryService } from "#envoy/service/status/v3/csds_pb.ts";
import { CaCertificateService } from "#sluice/admin/v1/ca_certificate_service_pb.ts";
import { CertificateService } from "#sluice/admin/v1/certificate_service_pb.ts";
import { GatewayGroupService } from "#sluice/admin/v1/gateway_group_service_pb.ts";
import { GatewayService } from "#sluice/admin/v1/gateway_service_pb.ts";
import { RegistryService } from "#sluice/admin/v1/registry_service_pb.ts";
import { RolloutService } from "#sluice/admin/v1/rollout_service_pb.ts";
import { ServiceService } from "#sluice/admin/v1/service_service_pb.ts";
import { DiscoveryService } from "#sluice/admin/v1/discovery_service_pb.ts";
import { LoadService } from "#sluice/admin/v1/load_service_pb.ts";
import { StatusService } from "#sluice/admin/v1/status_service_pb.ts";
import { LeaseService } from "#sluice/discovery/v1/lease_service_pb.ts";

import type { Endpoints } from "../endpoints/endpoints.ts";
import type { Logger } from "../observe/logger.ts";
import type { MetricsRegistry } from "../observe/metrics.ts";
import type { Reports } from "../reports/reports.ts";
import type { ConnectedClients } from "../xds/connected-clients.ts";
import { type Address, isLoopback } from "./address.ts";
import { authenticate } from "./authenticate.ts";
import { caCertificateService } from "./ca-certificate-service.ts";
import { callRecorder } from "./calls.ts";
import { certificateService } from "./certificate-service.ts";
import { clientStatusService } from "./client-status-service.ts";
import { cutKey } from "./context.ts";
import { delivery } from "./deliver.ts";
import { gatewayGroupService } from "./gateway-group-service.ts";
import { gatewayService } from "./gateway-service.ts";
import { nameHangUps } from "./hang-up.ts";
import { healthService, type Readiness } from "./health.ts";
import { isCrossOrigin, type PageSources, refuseCrossOrigin, servePage } from "./http-pages.ts";
import { interceptors } from "./interceptors.ts";
import { type KeptLeases, leaseService } from "./lease-service.ts";
import { loadService } from "./load-service.ts";
import { isLeaseToken } from "./lease-tokens.ts";
import { type Handler, type HttpPort, listenHttp } from "./listen.ts";
import { Reflection } from "./reflection.ts";
import { registryService } from "./registry-service.ts";
import { type RolloutSources, rolloutService } from "./rollout-service.ts";
import { serviceService } from "./service-service.ts";
import { discoveryService } from "./discovery-service.ts";
import { type StatusSources, statusService } from "./status-service.ts";
import { readTls, type TlsFiles, watchTls } from "./tls.ts";
import type { AdminToken } from "./token.ts";
import { Watches, type WatchLimits } from "./watch.ts";

/** A whole gateway of 20,000 services in JSON. */
const READ_BYTES_MAX = 64 * 1024 * 1024;

/** For the services that need no token: their requests hold a name or two. */
const OPEN_READ_BYTES_MAX = 64 * 1024;

/** Of programs that may report instances and nothing else: 1,000 instances of 8 KiB and their names. */
const LEASE_READ_BYTES_MAX = 16 * 1024 * 1024;

export interface AdminServerOptions extends StatusSources, RolloutSources {
  readonly address: Address;
  /** TLS on the port; plain text without. */
  readonly tls?: TlsFiles | undefined;
  readonly token: AdminToken;
  readonly readiness: Readiness;
  readonly endpoints: Endpoints;
  readonly leaseJournal: KeptLeases;
  /** The data planes' streams. */
  readonly clients: ConnectedClients;
  /** What they report. */
  readonly reports: Pick<Reports, "loads" | "reopenLogs">;
  readonly metrics: MetricsRegistry;
  readonly log: Logger;
  /** Default: 1,000 watches, of which each may leave a message unread for a minute. */
  readonly watchLimits?: WatchLimits | undefined;
}

export interface AdminServer {
  /** With the port that was chosen, where port 0 was asked for. */
  readonly address: Address;
  /** Ends watches, waits for calls under way, and after `drainMs` cuts what is left. */
  close(drainMs: number): Promise<void>;
}

const services = [
  GatewayService,
  GatewayGroupService,
  ServiceService,
  RegistryService,
  CertificateService,
  CaCertificateService,
  StatusService,
  ClientStatusDiscoveryService,
  LoadService,
  RolloutService,
  DiscoveryService,
  LeaseService,
  Health,
  ServerReflection,
  ServerReflectionAlpha,
] as const;

/**
 * Serves the admin API for gRPC, gRPC-Web and Connect, with gRPC reflection and health, and /healthz and /metrics, on one port.
 * @throws StartError
 */
export async function startAdminServer(options: AdminServerOptions): Promise<AdminServer> {
  const { address, tls, log } = options;
  const ending = new AbortController();
  const handler = adminHandler(options, ending.signal);
  const keys = tls && readTls(tls);
  const port = await listenHttp(address, "--admin", keys, handler);
  const unwatch =
    tls === undefined || keys === undefined ? () => {} : watchTls(tls, keys, () => reloadTls(port, tls, log));
  return {
    address: port.address,
    async close(drainMs) {
      unwatch();
      ending.abort(new ConnectError("the control plane is shutting down", Code.Unavailable));
      await port.close(drainMs);
    },
  };
}

function adminHandler(options: AdminServerOptions, shutdownSignal: AbortSignal): Handler {
  const { metrics, log, token, address } = options;
  const { reopenLogs } = options.reports;
  const pages: PageSources = { ...options, reopenLogs, onLoopback: isLoopback(address.host) };
  const record = callRecorder(metrics, log);
  const handle = connectNodeAdapter({
    routes: (router) => addRoutes(router, options),
    fallback: (request, response) => servePage(request, response as Parameters<Handler>[1], pages),
    requestGate: authenticate(token, record, (given) => isLeaseToken(options.store, given)),
    interceptors: interceptors(record),
    readMaxBytes: READ_BYTES_MAX,
    // A misspelt field is an error, not one that is read and ignored.
    jsonOptions: { ignoreUnknownFields: false, registry },
    contextValues: (request) => createContextValues().set(cutKey, () => cut(request)),
    shutdownSignal,
  });
  return (request, response) => {
    if (isCrossOrigin(request)) {
      refuseCrossOrigin(response);
      return;
    }
    // Over HTTP/1.1 connect-node waits for "drain" after a write that doesn't fit, and for ever if the connection goes meanwhile. Once it
    // looks again it sees that the call is over.
    if (!("stream" in response)) response.once("close", () => response.emit("drain"));
    nameHangUps(response);
    handle(request, response);
  };
}

function addRoutes(router: ConnectRouter, options: AdminServerOptions): void {
  const { store, metrics, readiness, log } = options;
  const openWatches = metrics.gauge({ name: "sluice_admin_watches", help: "Watches of changes that are open." });
  const deliver = delivery(log, options.watchLimits?.stalledMsMax);
  const watches = new Watches(store, openWatches, log, options.watchLimits);
  // Made when somebody asks: it indexes all of Envoy's messages, which the client status holds.
  let reflection: Reflection | undefined;
  async function* reflect(requests: AsyncIterable<Parameters<Reflection["answer"]>[0]>) {
    for await (const request of requests) {
      const shown = [...registry].filter((each) => each.kind === "message");
      yield (reflection ??= new Reflection(services, shown)).answer(request);
    }
  }
  const open = { readMaxBytes: OPEN_READ_BYTES_MAX };
  router
    .service(GatewayService, gatewayService(store, watches))
    .service(GatewayGroupService, gatewayGroupService(store))
    .service(ServiceService, serviceService(store))
    .service(RegistryService, registryService(store))
    .service(CertificateService, certificateService(store))
    .service(CaCertificateService, caCertificateService(store))
    .service(StatusService, statusService(options, deliver))
    .service(ClientStatusDiscoveryService, clientStatusService(options.clients, options.peers))
    .service(LoadService, loadService(options.reports.loads, options.peers))
    .service(RolloutService, rolloutService(options, deliver))
    .service(DiscoveryService, discoveryService(options.endpoints, deliver))
    .service(LeaseService, leaseService(store, options.endpoints.leases, options.leaseJournal), {
      readMaxBytes: LEASE_READ_BYTES_MAX,
    })
    .service(Health, healthService(readiness, new Set(services.map(({ typeName }) => typeName))), open)
    .service(ServerReflection, { serverReflectionInfo: reflect }, open)
    .service(ServerReflectionAlpha, { serverReflectionInfo: reflect }, open);
}

/** Ends one call by force, without waiting for a caller that doesn't read. */
function cut(request: Parameters<Handler>[0]): void {
  if ("stream" in request) request.stream.destroy();
  else request.socket.destroy();
}

/** Takes new keys; with bad ones the port goes on with the old. */
function reloadTls(port: HttpPort, files: TlsFiles, log: Logger): void {
  try {
    port.setTls(readTls(files));
    log.info({ cert: files.cert }, "took the new certificate of the admin API");
  } catch (error) {
    log.error({ err: error }, "the admin API keeps its old certificate");
  }
}
