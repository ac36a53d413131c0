/**
 * The names by which resources refer to each other, each made in one place. Names of services, upstreams and routes
 * hold no "/", so different objects never meet in one name.
 */
import type { Route } from "#sluice/model/v1/route_pb.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";

import { UPSTREAM_DEFAULT } from "../model/objects.ts";

/** The RouteConfiguration that all listeners of a gateway group share. */
export const ROUTE_CONFIGURATION = "default";

/** The cluster of one upstream of a service, and its ClusterLoadAssignment (W3). */
export const clusterName = (service: Pick<Service, "name">, upstream: string): string =>
  `${service.name}/${upstream || UPSTREAM_DEFAULT}`;

/** The cluster of a collector of logs or traces; an upstream's name holds no ":", so that no service has a cluster of this name. */
export const collectorClusterName = ({ host, port }: { readonly host: string; readonly port: number }): string =>
  `collector/${host}:${port}`;

/** The secret that carries a certificate and its key. */
export const certificateSecretName = (certificate: string): string => `certificate/${certificate}`;

/** The secret that carries authorities. */
export const caSecretName = (ca: string): string => `ca/${ca}`;

/** What access logs and statistics call a route. */
export const routeName = (service: Pick<Service, "name">, route: Pick<Route, "name">): string =>
  `${service.name}/${route.name}`;

/** The virtual host for the hosts that only this service answers to; the name says to which route configuration it belongs (O1). */
export const serviceVirtualHost = (service: string): string => `${ROUTE_CONFIGURATION}/service:${service}`;

/** The virtual host of one host that several services answer to. A host holds no "/". */
export const sharedVirtualHost = (host: string): string => `${ROUTE_CONFIGURATION}/host:${host}`;
