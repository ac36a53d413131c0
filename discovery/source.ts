import type { ServiceKey, ServiceSnapshot } from "#sluice/discovery/v1/snapshot_pb.ts";

/** What is wrong, as far as it changes what people do about it. */
export type DiscoveryErrorKind =
  /** No connection, no answer in time, or an answer that says that the registry can't (5xx, no leader). */
  | "unreachable"
  /** The credentials are wrong, missing or expired: 401, a login refused. */
  | "unauthenticated"
  /** The credentials are good and not sufficient: 403, results filtered by ACLs. */
  | "permission_denied"
  /** The registry refuses the name. One that it merely doesn't have is an answer: ServiceSnapshot.unknown_service. */
  | "unknown_service"
  /** The answer is not what the protocol says, or too large. */
  | "bad_answer"
  /** What the operator wrote can't work with this registry: a missing file, an unusable certificate, a wrong namespace. */
  | "bad_settings";

/** A failure of a registry. Whoever watches keeps the last good answer and tries again. */
export class DiscoveryError extends Error {
  override readonly name = "DiscoveryError";
  readonly kind: DiscoveryErrorKind;

  /** @param message for operators: who was asked, and the registry's own words; without secrets */
  constructor(kind: DiscoveryErrorKind, message: string, options?: ErrorOptions) {
    super(message, options);
    this.kind = kind;
  }
}

/** What a registry says of itself. */
export interface RegistryIdentity {
  /** Tells clusters of the same kind apart; empty if the registry doesn't say. As in ServiceSnapshot. */
  readonly clusterIdentity: string;
  /** Program and version, for people: "Consul 1.22.7"; empty if the registry doesn't say. */
  readonly version: string;
}

/** What is wrong with a watched service; times in milliseconds since 1970. */
export interface Failure {
  readonly kind: DiscoveryErrorKind | "bug";
  /** The registry's own words. */
  readonly message: string;
  /** Since when it has failed without a good answer between. */
  readonly sinceMs: number;
  /** In a row. */
  readonly times: number;
}

/** Why an empty answer is not believed yet; times in milliseconds since 1970. */
export interface Doubt {
  /** For people. */
  readonly reason: string;
  readonly sinceMs: number;
  /** When it is believed, if the registry hasn't said otherwise by then. */
  readonly untilMs: number;
}

/** What somebody else who watches a service for us says of it, beside its endpoints. */
export interface Remark {
  readonly failure?: Failure;
  readonly held?: Doubt;
}

/** A service that a registry has, for choosing one. */
export interface ListedService {
  readonly key: ServiceKey;
  readonly tags: readonly string[];
  /** Names of the ports, where the registry has such. */
  readonly ports: readonly string[];
}

/**
 * A registry, as an adapter shows it. An adapter keeps to the protocol and nothing else: it neither retries, nor waits, nor logs, nor
 * remembers what was good; the supervisor (supervise.ts) does that for all of them.
 *
 * A source may serve all its watches from one connection (a whole-namespace watch, a push stream). It then opens it with the first watch,
 * closes it after the last one ended, and if it breaks all watches throw; since the supervisor calls watch() again for each of them, the
 * source must join attempts that come at once.
 */
export interface Source {
  /**
   * Yields all instances of a service as soon as they are known, and again whenever they change. To yield the same again is allowed, costs
   * little, and says that it still holds. The first snapshot of each call, and those marked `discontinuous`, may not follow from what
   * was said before: the supervisor doesn't believe their emptiness at once. What was yielded belongs to the supervisor, which takes it apart.
   *
   * Ends only by throwing, or by returning once `signal` is aborted; holds nothing then. Must notice by itself when a connection has
   * died in silence (a stall watchdog, TCP keep-alive or pings), in at most a minute; faster is what `probe` is for.
   *
   * @throws DiscoveryError; anything else counts as a bug
   */
  watch(service: ServiceKey, signal: AbortSignal): AsyncIterable<ServiceSnapshot>;

  /**
   * The services there are, in order of their names, at most LIST_MAX.
   * @throws DiscoveryError
   */
  list(signal: AbortSignal): Promise<readonly ListedService[]>;

  /**
   * Asks the registry for a sign of life over a path that shows what watches would meet: cheap, since it is called every few seconds.
   * Missing permissions for the probe itself are no failure.
   * @throws DiscoveryError
   */
  probe(signal: AbortSignal): Promise<RegistryIdentity>;

  /** Takes whom to tell that what has failed may be asked again at once. Only where that can be seen without asking: a file was written. */
  onMended?(tell: () => void): void;

  /** What is said of what `watch` threw, where that needs other words: without secrets. Default: the same. */
  explain?(error: unknown): unknown;

  /** Only where somebody else watches for us: what is wrong with a service there. Undefined if nothing is. */
  remark?(service: ServiceKey): Remark | undefined;

  /** Gives up all connections. Watches were ended before. */
  close(): Promise<void>;
}

/** Services that one list holds; more are cut off, so that no registry can fill the memory. */
export const LIST_MAX = 10_000;

/** Endpoints that one service may have; a registry that tells of more gives a bad answer. */
export const ENDPOINTS_MAX = 100_000;

/** A service key as one string, for maps and messages: "orders", "orders namespace=shop cluster=dc2". Different for different keys. */
export function keyText({ service, namespace, group, cluster }: ServiceKey): string {
  const more = Object.entries({ namespace, group, cluster }).filter(([, value]) => value !== "");
  return [plain(service), ...more.map(([name, value]) => `${name}=${plain(value)}`)].join(" ");
}

const plain = (text: string) => (/[\s"=]/.test(text) ? JSON.stringify(text) : text);
