/** How a cluster's API server is reached, whatever told us: a kubeconfig, the pod we run in, or the settings of a registry. */

/** What one request shows of who asks. */
export interface Credential {
  /** Value of the Authorization header. */
  readonly authorization?: string;
  /** Client certificate chain and its key, PEM. */
  readonly certificate?: string;
  readonly key?: string;
}

/** Where credentials come from; they may change while the program runs. */
export interface Credentials {
  /** What gives them, where that may take long, for people: "credential plugin aws". */
  readonly giver?: string;
  /**
   * The credential to use for a request that starts now.
   * @throws {DiscoveryError} when there is none.
   */
  get(signal: AbortSignal): Promise<Credential>;
  /** The server did not accept this credential (401): `get` asks its origin anew before it gives it again. */
  refused(credential: Credential): void;
}

/** All that a connection to an API server needs. */
export interface ClusterAccess {
  /** Its origin; a path is put before every request's, as for a server behind a proxy. */
  readonly server: URL;
  /** Certificates that its certificate may descend from, PEM; the system's when undefined. */
  readonly ca?: string;
  /** Where they lie in a file, which may be renewed: reads them for a new connection. While it throws, or gives nothing, those that were read first count. */
  readonly readCa?: () => string | undefined;
  /** The name to find in its certificate, when it is not the host of `server`. */
  readonly serverName?: string;
  /** Takes any certificate. Only when the operator said so in so many words. */
  readonly insecureSkipTlsVerify: boolean;
  readonly credentials: Credentials;
  /** The namespace of services that are named without one. */
  readonly namespace: string;
}

/** Something that the operator wrote and that can't be used. */
export interface AccessProblem {
  /** Path in what was read, such as `clusters[prod].server`. */
  readonly field: string;
  readonly message: string;
}

/** Access, or everything that stands in its way. */
export type AccessResult =
  | { readonly ok: true; readonly access: ClusterAccess }
  | { readonly ok: false; readonly problems: readonly AccessProblem[] };
