/** The control plane's program: reads its options, makes the parts, joins them, and takes them down again in order. */
import { type Address, formatAddress, isLoopback, parseAddress } from "./admin/address.ts";
import { otherClients } from "./admin/client-status-service.ts";
import { Readiness } from "./admin/health.ts";
import { listenError } from "./admin/listen.ts";
import { type AdminServer, startAdminServer } from "./admin/server.ts";
import { StartError } from "./admin/start-error.ts";
import { readTls, type TlsFiles, watchTls } from "./admin/tls.ts";
import { type AdminToken, loadToken } from "./admin/token.ts";
import { compileRules } from "./admin/validation.ts";
import { version } from "./cli/version.ts";
import { countNoneChosen } from "./endpoints/choices.ts";
import { Endpoints } from "./endpoints/endpoints.ts";
import { LeaseJournal } from "./endpoints/lease-journal.ts";
import { SharedEndpoints } from "./endpoints/shared.ts";
import { expiryOf } from "./model/certificate.ts";
import { certificateMetrics } from "./observe/certificate-metrics.ts";
import { createLogger, type Logger, type LogLevel, logLevels } from "./observe/logger.ts";
import { discoveryMetrics } from "./observe/discovery-metrics.ts";
import { MetricsRegistry } from "./observe/metrics.ts";
import { addProcessMetrics } from "./observe/process-metrics.ts";
import { refreshMetrics } from "./observe/refresh-metrics.ts";
import { storeMetrics } from "./observe/store-metrics.ts";
import { recentClusters } from "./recent-clusters.ts";
import { type RefreshReport, startRefresh } from "./refresh.ts";
import { blameFrom } from "./rollout/blame-sources.ts";
import { policyOf } from "./rollout/policy.ts";
import { rollBackIn } from "./rollout/roll-back.ts";
import { Staging } from "./rollout/staging.ts";
import { trialPlace } from "./rollout/trial-place.ts";
import { rolloutMetrics } from "./rollout/metrics.ts";
import { Rollouts } from "./rollout/tracker.ts";
import { messageOf } from "./store/errors.ts";
import { openStore } from "./store/open.ts";
import { loadSecretKeys } from "./store/secret-keys.ts";
import { makeDataDir } from "./store/sqlite-files.ts";
import type { Store } from "./store/store.ts";
import { StorePeers } from "./peers/peers.ts";
import { makeReports } from "./reports/reports.ts";
import { STDOUT } from "./reports/log-file.ts";
import { ResourceCache } from "./xds/cache.ts";
import { Candidates } from "./xds/candidates.ts";
import { ConnectedClients } from "./xds/connected-clients.ts";
import type { XdsTls } from "./xds/credentials.ts";
import { JoinGuard, type JoinTokens } from "./xds/join.ts";
import { Publications } from "./xds/publications.ts";
import { startXdsServer, type XdsServer } from "./xds/server.ts";
import { NodeRegistry } from "./xds/status.ts";
import { isSecret, withoutSecrets } from "./xds/withhold.ts";

/** How a control plane is to run. */
export interface ControlPlaneOptions {
  /** Holds the embedded store and the administrator's token; made if it isn't there. */
  readonly dataDirectory: string;
  /** HOST:PORT of the admin API; port 0 for any free one. */
  readonly adminAddress: string;
  /** HOST:PORT that data planes connect to; port 0 for any free one. */
  readonly xdsAddress: string;
  /** A PostgreSQL database instead of the embedded store: postgres://user:password@host:5432/name. */
  readonly storeUrl?: string | undefined;
  /** A file of keys that encrypt secrets in the store (store/secret-box.ts). Default: the environment's SLUICE_SECRET_KEY, or none. */
  readonly secretKeyFile?: string | undefined;
  /** PEM file of the admin API's certificate chain; with `adminTlsKey`. Read again when it changes. */
  readonly adminTlsCert?: string | undefined;
  /** PEM file of its private key. */
  readonly adminTlsKey?: string | undefined;
  /** PEM file of the xDS port's certificate chain; with `xdsTlsKey`. Read again when it changes. */
  readonly xdsTlsCert?: string | undefined;
  /** PEM file of its private key. */
  readonly xdsTlsKey?: string | undefined;
  /** PEM file of the authorities of data planes' certificates, which they then have to show; with TLS. */
  readonly xdsClientCa?: string | undefined;
  /** Allows the admin API as plain text on addresses that other machines can reach. Default: false. */
  readonly insecure?: boolean | undefined;
  /** Allows xDS as plain text, without secrets, on addresses that other machines can reach. Default: false. */
  readonly xdsInsecure?: boolean | undefined;
  /** File that access log entries of data planes are appended to as JSON lines (POST /reopen_logs). Default: "-", standard output. */
  readonly accessLogFile?: string | undefined;
  /** How often data planes report their load, in ms. Default: 10,000. */
  readonly loadReportIntervalMs?: number | undefined;
  /** Default: the environment's SLUICE_LOG_LEVEL, else "info". */
  readonly logLevel?: LogLevel | undefined;
}

/** A control plane that answers. */
export interface RunningControlPlane {
  /** HOST:PORT, with the port that was chosen. */
  readonly adminAddress: string;
  /** HOST:PORT, with the port that was chosen. */
  readonly xdsAddress: string;
  /** Refuses new calls, lets those under way finish for some seconds, and closes the store. */
  close(): Promise<void>;
}

/** How long calls and streams under way may take once the control plane is told to end. */
const DRAIN_MS = 5_000;

/**
 * Starts a control plane: the store first, then the xDS cache is filled, and only then data planes and administrators are let in, so that
 * nobody ever sees half of the gateway. At the first start the administrator's token is shown on stdout.
 * @throws StartError, StoreError: what the operator can change, in words
 */
export async function runControlPlane(options: ControlPlaneOptions): Promise<RunningControlPlane> {
  const log = createLogger(logLevelOf(options));
  const undo = new AsyncDisposableStack();
  try {
    const addresses = await start(options, log, undo);
    log.info({ ...addresses, version }, "the control plane is ready");
    return { ...addresses, close: () => undo.disposeAsync() };
  } catch (error) {
    // Whatever goes wrong on the way down, the reason is what went wrong on the way up.
    await undo.disposeAsync().catch((failure: unknown) => log.error({ err: failure }, "cleaning up failed"));
    throw error;
  }
}

async function start(options: ControlPlaneOptions, log: Logger, undo: AsyncDisposableStack) {
  const adminAt = parseAddress(options.adminAddress, "--admin");
  const xdsAt = parseAddress(options.xdsAddress, "--xds");
  const tls = tlsOf(options);
  const xdsTls = xdsTlsOf(options);
  requireTls(adminAt, "--admin", tls !== undefined, options.insecure);
  requireTls(xdsAt, "--xds", xdsTls !== undefined, options.xdsInsecure);
  // Before anything is made, so that a bad certificate leaves nothing behind.
  if (tls !== undefined) readTls(tls);
  const xdsKeys = xdsTls && readTls(xdsTls);

  const startTime = new Date();
  const metrics = new MetricsRegistry();
  undo.defer(addProcessMetrics(metrics, version));

  const secretKeys = loadSecretKeys(options.secretKeyFile, process.env["SLUICE_SECRET_KEY"]);
  const location = { dataDir: options.dataDirectory, url: options.storeUrl, secretKeys };
  const { wrote, showRevision } = storeMetrics(metrics);
  const store = await openStore(location, { warn: (message) => log.warn(message), wrote });
  undo.defer(() => store.close());
  showRevision(() => Number(store.state.revision));
  certificateMetrics(metrics, () => expiries(store));
  // With PostgreSQL nothing else has made it yet.
  makeDataDir(options.dataDirectory);
  const token = loadToken(options.dataDirectory, process.env["SLUICE_ADMIN_TOKEN"]);
  showToken(token, log);

  const cache = new ResourceCache();
  const nodes = new NodeRegistry();
  const peers = store.peers.isShared ? new StorePeers(store.peers, (message) => log.warn(message)) : undefined;
  await peers?.start();
  undo.defer(async () => await peers?.close());
  const shared = store.shared.isShared ? new SharedEndpoints(store.shared) : undefined;
  const endpoints = new Endpoints({ dataDir: options.dataDirectory, log, shared });
  undo.defer(() => endpoints.close());
  await endpoints.start();
  const journal = new LeaseJournal(endpoints.leases, store.leases, (message) => log.warn(message));
  await journal.start();
  undo.defer(() => journal.close());
  discoveryMetrics(
    metrics,
    () => endpoints.registries(),
    (registry) => countNoneChosen(endpoints, registry),
  );
  const why =
    "xDS is plain text on an address that other machines can reach, and carries no secrets: data planes wait for certificates";
  const served =
    isLoopback(xdsAt.host) || xdsTls !== undefined
      ? cache
      : withoutSecrets(cache, (gatewayGroup) => log.error({ gatewayGroup, xds: formatAddress(xdsAt) }, why));
  const publications = new Publications();
  const candidates = new Candidates(cache);
  const blame = blameFrom({ resources: (group, type) => candidates.newest(group, type) }, store);
  const rollouts = new Rollouts({
    ...{ target: served, nodes, publications, blame },
    metrics: rolloutMetrics(metrics),
  });
  undo.defer(() => rollouts.close());
  const staging = new Staging({
    ...{ cache, rollouts, candidates, nodes, log },
    place: trialPlace(store.trials, nodes, peers),
    policy: (group) => policyOf(store.state.gatewayGroup(group)),
    rollBack: rollBackIn(store),
    offers: (update) => served === cache || !isSecret(update),
  });
  undo.defer(() => staging.close());
  await staging.restore();
  const refreshed = refreshMetrics(metrics);
  const report = (done: RefreshReport) => {
    refreshed(done);
    rollouts.notePublished(done.revision);
  };
  const refresh = startRefresh({ store, cache: staging, endpoints, log, report });
  undo.defer(() => refresh.close());
  await refresh.ready;
  for (const [group, steps] of await recentClusters(store)) cache.recall(group, steps);

  // Beyond this machine everybody may connect; so there nobody joins without credentials.
  const join = new JoinGuard(xdsTls !== undefined);
  const takeTokens = () => join.setTokens(joinTokens(store));
  takeTokens();
  undo.defer(store.subscribe(takeTokens));
  const clients = new ConnectedClients();
  const { accessLogFile = STDOUT, loadReportIntervalMs } = options;
  const reports = makeReports({
    ...{ clients, cache, join, metrics, log, accessLogFile, loadReportIntervalMs },
    otherClients: otherClients(peers),
  });
  undo.defer(() => reports.close());
  const takeRateLimits = () => reports.rateLimits.set(rateLimitDomains(store));
  takeRateLimits();
  undo.defer(store.subscribe(takeRateLimits));
  const xdsOptions = {
    ...xdsAt,
    cache,
    candidates,
    nodes,
    clients,
    publications,
    log,
    metrics,
    join,
    tls: xdsKeys && toXdsTls(xdsKeys),
  };
  const xds = await startXdsServer({ ...xdsOptions, services: reports.services }).catch((error: unknown) => {
    throw xdsError(error, xdsAt);
  });
  undo.defer(() => xds.close(DRAIN_MS));
  if (xdsTls !== undefined && xdsKeys !== undefined) {
    undo.defer(watchTls(xdsTls, xdsKeys, () => reloadXdsTls(xds, xdsTls, log)));
  }

  const readiness = new Readiness();
  const sources = { version, startTime, store, nodes, clients, rollouts, endpoints, xdsAddress: xds.address, peers };
  const admin: AdminServer = await startAdminServer({
    ...sources,
    ...{ address: adminAt, tls, token, readiness, metrics, reports, log },
    leaseJournal: journal,
  });
  undo.defer(() => admin.close(DRAIN_MS));
  // Last in, first out: load balancers hear first that this one is going.
  undo.defer(() => readiness.set(false));
  readiness.set(true);
  // Whoever waits for this program is told first; the first request then finds it done, or waits for it as it would have anyway.
  setImmediate(compileRules);
  return { adminAddress: formatAddress(admin.address), xdsAddress: xds.address };
}

function* expiries({ state }: Store) {
  for (const { object } of state.entries("certificate")) {
    const expiry = object.kind === "certificate" ? expiryOf(object.value) : undefined;
    if (object.kind === "certificate" && expiry !== undefined) {
      yield { gatewayGroup: object.value.gatewayGroup, name: object.value.name, expiry };
    }
  }
}

function logLevelOf({ logLevel }: ControlPlaneOptions): LogLevel {
  const text = logLevel ?? process.env["SLUICE_LOG_LEVEL"] ?? "info";
  const level = logLevels.find((each) => each === text);
  if (level === undefined) throw new StartError(`SLUICE_LOG_LEVEL ${text}: expected one of ${logLevels.join(", ")}`);
  return level;
}

function tlsOf({ adminTlsCert: cert, adminTlsKey: key }: ControlPlaneOptions) {
  if (cert === undefined && key === undefined) return undefined;
  if (cert === undefined || key === undefined) throw new StartError("--admin-tls-cert and --admin-tls-key go together");
  return { cert, key };
}

function xdsTlsOf({ xdsTlsCert: cert, xdsTlsKey: key, xdsClientCa: clientCa }: ControlPlaneOptions) {
  if (cert !== undefined && key !== undefined) return { cert, key, clientCa };
  if (cert !== undefined || key !== undefined) throw new StartError("--xds-tls-cert and --xds-tls-key go together");
  if (clientCa !== undefined) throw new StartError("--xds-client-ca needs --xds-tls-cert and --xds-tls-key");
  return undefined;
}

const toXdsTls = ({ cert, key, clientCa }: ReturnType<typeof readTls>): XdsTls => ({
  certificateChain: cert,
  privateKey: key,
  clientAuthorities: clientCa,
});

/** Takes new keys for connections to come; with bad ones the port goes on with the old. */
function reloadXdsTls(xds: XdsServer, files: TlsFiles, log: Logger): void {
  try {
    xds.setTls(toXdsTls(readTls(files)));
    log.info({ cert: files.cert }, "took the new certificate of the xDS port");
  } catch (error) {
    log.error({ err: error }, "the xDS port keeps its old certificate");
  }
}

/** The rate limits of every gateway group. */
function* rateLimitDomains({ state }: Store) {
  for (const { object } of state.gatewayGroupEntries()) {
    if (object.kind !== "gatewayGroup") continue;
    const { name: gatewayGroup, rateLimits } = object.value;
    for (const domain of rateLimits) yield { gatewayGroup, domain };
  }
}

/** The digests of every gateway group's join tokens. */
function joinTokens({ state }: Store): JoinTokens {
  const tokens = new Map<string, readonly Buffer[]>();
  for (const { object } of state.gatewayGroupEntries()) {
    if (object.kind !== "gatewayGroup") continue;
    const { name, joinTokens: ofGroup } = object.value;
    tokens.set(
      name,
      ofGroup.map(({ sha256 }) => Buffer.from(sha256, "hex")),
    );
  }
  return tokens;
}

function requireTls(at: Address, flag: "--admin" | "--xds", hasTls: boolean, insecure: boolean | undefined): void {
  if (isLoopback(at.host) || hasTls || insecure === true) return;
  throw new StartError(
    `${flag} ${formatAddress(at)} can be reached by other machines and would speak plain text: use ${flag}-tls-cert and ` +
      `${flag}-tls-key, or ${flag === "--xds" ? "--xds-insecure" : "--insecure"} if the network between is trusted`,
  );
}

/** Once, at the first start, and never in the log. */
function showToken({ created, origin }: AdminToken, log: Logger): void {
  if (created === undefined) log.info({ origin }, "the administrator's token is where it was");
  else process.stdout.write(`administrator token (shown this once; kept in ${origin}): ${created}\n`);
}

/** grpc-js tells why it can't listen only in words. */
function xdsError(error: unknown, at: Address): unknown {
  const code = /EADDRINUSE|EADDRNOTAVAIL|EACCES|ENOTFOUND/.exec(messageOf(error))?.[0];
  return code === undefined ? error : listenError(Object.assign(new Error(messageOf(error)), { code }), at, "--xds");
}
