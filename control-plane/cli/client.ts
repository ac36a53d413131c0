import { X509Certificate } from "node:crypto";
import type { ConnectionOptions, SecureContextOptions } from "node:tls";

import type { DescService } from "@bufbuild/protobuf";
import { type Client, Code, ConnectError, createClient, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-node";

import { ProblemsSchema } from "#sluice/admin/v1/common_pb.ts";
import { CaCertificateService } from "#sluice/admin/v1/ca_certificate_service_pb.ts";
import { CertificateService } from "#sluice/admin/v1/certificate_service_pb.ts";
import { DiscoveryService } from "#sluice/admin/v1/discovery_service_pb.ts";
import { GatewayGroupService } from "#sluice/admin/v1/gateway_group_service_pb.ts";
import { GatewayService } from "#sluice/admin/v1/gateway_service_pb.ts";
import { RegistryService } from "#sluice/admin/v1/registry_service_pb.ts";
import { RolloutService } from "#sluice/admin/v1/rollout_service_pb.ts";
import { ServiceService } from "#sluice/admin/v1/service_service_pb.ts";
import { StatusService } from "#sluice/admin/v1/status_service_pb.ts";

import { type Connection, findConnection } from "./connection.ts";
import { CliError, ProblemsError } from "./errors.ts";
import type { GatewaySource } from "./gateway-source.ts";
import type { GlobalOptions } from "./options.ts";
import { inFileOrder } from "./yaml/tree.ts";

/** The admin API's services. What they throw, `explain` turns into what a user can act on. */
export interface AdminClient {
  readonly gateways: Client<typeof GatewayService>;
  readonly groups: Client<typeof GatewayGroupService>;
  readonly services: Client<typeof ServiceService>;
  readonly registries: Client<typeof RegistryService>;
  readonly certificates: Client<typeof CertificateService>;
  readonly caCertificates: Client<typeof CaCertificateService>;
  readonly discovery: Client<typeof DiscoveryService>;
  readonly status: Client<typeof StatusService>;
  readonly rollouts: Client<typeof RolloutService>;
  /** A service that few commands ask, whose code need not be loaded by the others. */
  of<Service extends DescService>(service: Service): Client<Service>;
}

/** Clients of one control plane; each call ends after `timeoutMs` (0: never). */
export function createAdminClient(connection: Connection, timeoutMs: number): AdminClient {
  const { server, token } = connection;
  const authorize: Interceptor = (next) => (request) => {
    if (token !== undefined) request.header.set("authorization", `Bearer ${token}`);
    return next(request);
  };
  const transport = createConnectTransport({
    baseUrl: server,
    httpVersion: "1.1",
    useBinaryFormat: true,
    interceptors: [authorize],
    ...(timeoutMs > 0 && { defaultTimeoutMs: timeoutMs }),
    nodeOptions: tlsOptions(connection),
  });
  return {
    gateways: createClient(GatewayService, transport),
    groups: createClient(GatewayGroupService, transport),
    services: createClient(ServiceService, transport),
    registries: createClient(RegistryService, transport),
    certificates: createClient(CertificateService, transport),
    caCertificates: createClient(CaCertificateService, transport),
    discovery: createClient(DiscoveryService, transport),
    status: createClient(StatusService, transport),
    rollouts: createClient(RolloutService, transport),
    of: (service) => createClient(service, transport),
  };
}

/** An explicit authority goes before what the control plane left on this machine, and both before the system's authorities. */
function tlsOptions({
  ca,
  certificate,
}: Connection): SecureContextOptions & Pick<ConnectionOptions, "checkServerIdentity"> {
  if (ca !== undefined) return { ca };
  if (certificate === undefined) return {};
  // A chain's file begins with the certificate itself.
  const own = new X509Certificate(certificate);
  return {
    ca: certificate,
    allowPartialTrustChain: true,
    checkServerIdentity: (host, { raw }) =>
      own.raw.equals(raw)
        ? undefined
        : new Error(`${host} has another certificate than the control plane on this machine`),
  };
}

/** Calls the admin API that the options lead to; what its answers mean for the user is thrown as a CliError. */
export async function withClient<Result>(
  options: GlobalOptions,
  action: (client: AdminClient) => Promise<Result>,
): Promise<Result> {
  const connection = await findConnection(options);
  try {
    return await action(createAdminClient(connection, options.timeout));
  } catch (error) {
    if (error instanceof ConnectError) throw explain(error, connection, options.timeout);
    throw error;
  }
}

/** What the server found wrong with a gateway, at its places in the user's files; undefined for any other error. */
export function problemsAt(error: unknown, source: GatewaySource, consequence: string): ProblemsError | undefined {
  if (!(error instanceof ConnectError)) return undefined;
  const problems = problemsOf(error);
  if (problems.length === 0) return undefined;
  return new ProblemsError(inFileOrder(problems.map((problem) => source.toFileProblem(problem))), consequence);
}

const problemsOf = (error: ConnectError) => error.findDetails(ProblemsSchema).flatMap(({ problems }) => problems);

/** What an error of a call means for the user, and what to do. */
export function explain(error: ConnectError, { server, origin, token }: Connection, timeoutMs: number): CliError {
  const problems = problemsOf(error);
  if (problems.length > 0) return new ProblemsError(problems, "the control plane refused it and changed nothing");
  const code = systemCode(error);
  if (/^(DEPTH_ZERO_SELF_SIGNED|SELF_SIGNED|UNABLE_TO_|CERT_|ERR_TLS_)/.test(code ?? "")) {
    return new CliError(
      `the certificate of ${server} (${origin}) is not trusted: ${code}`,
      "name its authority with --ca FILE",
    );
  }
  switch (error.code) {
    case Code.Unauthenticated:
      return new CliError(
        token === undefined ? `${server} wants a token` : `${server} refused the token`,
        "give --token or SLUICE_TOKEN, or --data with the control plane's data directory (its file admin-token)",
      );
    case Code.Unavailable:
      return new CliError(
        `no control plane answers at ${server} (${origin}): ${code ?? error.rawMessage}`,
        "start one with sluice up, or name another with --server or --data",
      );
    case Code.DeadlineExceeded:
      return new CliError(`${server} did not answer within ${timeoutMs / 1000}s`, "give it longer with --timeout");
    case Code.Aborted:
      return new CliError(`somebody else changed the gateway meanwhile: ${error.rawMessage}`, "try again");
    case Code.Unimplemented:
      return new CliError(`${server} is no Sluice admin API, or an older one`, "check --server");
    default:
      return new CliError(error.rawMessage === "" ? `${server} answered ${Code[error.code]}` : error.rawMessage);
  }
}

/** The system's error code, where there is one: ECONNREFUSED says more than the library's wording. */
function systemCode({ cause }: ConnectError): string | undefined {
  return cause instanceof Error && "code" in cause && typeof cause.code === "string" ? cause.code : undefined;
}
