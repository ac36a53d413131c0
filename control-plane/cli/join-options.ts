/** How a data plane is let in by the control plane: options of `sluice proxy` and `sluice bootstrap envoy`. */
export interface JoinOptions {
  /** TLS with the system's authorities. */
  readonly xdsTls?: boolean;
  /** TLS with the authorities in this PEM file. */
  readonly xdsCa?: string;
  readonly xdsCert?: string;
  readonly xdsKey?: string;
  readonly joinTokenFile?: string;
}

/** What is wrong with them, seen together. */
export function joinProblem({ xdsTls, xdsCa, xdsCert, xdsKey }: JoinOptions): string | undefined {
  if ((xdsCert === undefined) !== (xdsKey === undefined)) return "--xds-cert and --xds-key go together";
  if (xdsCert !== undefined && xdsTls !== true && xdsCa === undefined) return "--xds-cert needs --xds-ca or --xds-tls";
  return undefined;
}
