/**
 * The cluster by which data planes reach their own control plane, with the credentials that they join with: static in an Envoy's bootstrap
 * (`sluice bootstrap envoy`), built into the native proxy. Resources may name it where a gRPC service is called; none of ours is called so.
 */
export const CONTROL_PLANE_CLUSTER = "xds_cluster";
