/**
 * What clients of Sluice's xDS server may say in `Node.client_features`, beside the features that Envoy's documentation lists. An entry
 * that a server doesn't know is no error to it.
 */

/**
 * The client takes virtual hosts one by one: a RouteConfiguration comes to it with `vhds` and without virtual hosts, and a delta stream of the
 * aggregated service brings all of them by a wildcard subscription. All others get the RouteConfiguration whole.
 */
export const VIRTUAL_HOSTS_BY_WILDCARD = "sluice.vhds.wildcard";
