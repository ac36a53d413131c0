import { isDeepStrictEqual } from "node:util";

import { toBinary } from "@bufbuild/protobuf";

import { ClusterSchema } from "#envoy/config/cluster/v3/cluster_pb.ts";
import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { resourceType } from "#proto/resource-types.ts";
import type { Service } from "#sluice/model/v1/service_pb.ts";
import type { Upstream } from "#sluice/model/v1/upstream_pb.ts";
import type { Certificate } from "#sluice/model/v1/certificate_pb.ts";
import type { GatewayGroup } from "#sluice/model/v1/gateway_group_pb.ts";

import { type CertificateFacts, certificateFacts } from "../model/certificate.ts";
import { FewNames } from "../model/few-names.ts";
import { keyText, type ObjectKey, type StoredObject, valueOf } from "../model/objects.ts";
import { toCollectorClusters } from "./collectors.ts";
import { difference, type KnownResource, replacements, type ResourceChange } from "./difference.ts";
import { toListener } from "./listener.ts";
import { ROUTE_CONFIGURATION } from "./names.ts";
import { encodeRouteConfiguration } from "./route-configuration.ts";
import { toCaSecret, toCertificateSecret } from "./secrets.ts";
import { discoveryKey } from "../model/discovery-key.ts";
import type { FindSnapshot } from "./discovered.ts";
import { type EncodedResource, type ServicePart, translateEndpoints, translateService } from "./service.ts";
import { VirtualHosts } from "./virtual-hosts.ts";

/** What happened to an object of the model. */
export interface ObjectChange {
  readonly key: ObjectKey;
  /** Undefined: it was deleted. */
  readonly object: StoredObject | undefined;
}

/** An object that could not be translated: a bug, since it was found valid when it was written. */
export interface TranslationFailure {
  readonly key: ObjectKey;
  readonly error: unknown;
}

const cds = resourceType("CDS").typeUrl;
const lds = resourceType("LDS").typeUrl;
const rds = resourceType("RDS").typeUrl;
const vhds = resourceType("VHDS").typeUrl;

/**
 * The resources of one gateway group, kept up to date object by object: an object that changes is translated again,
 * and whatever it shares with others is put together anew from parts that are there. The outcome depends on the
 * objects alone, not on the way to them, as long as nothing fails; an object that fails keeps its last good
 * resources.
 */
export class GroupTranslation {
  readonly #services = new Map<string, readonly KnownResource[]>();
  readonly #virtualHosts = new VirtualHosts();
  /** By kind and name. */
  readonly #secrets = new Map<string, readonly KnownResource[]>();
  readonly #certificates = new Map<string, CertificateFacts>();
  #group: GatewayGroup | undefined;
  #listeners: readonly KnownResource[] = [];
  #listenersStale = false;
  readonly #staged: ResourceChange[] = [];
  /** The services that need what a registry says, by discoveryKey. */
  readonly #users = new FewNames();
  readonly #sources = new Map<string, Service>();
  readonly #find: FindSnapshot;
  #isNew = true;

  /** @param find what registries say of the services that upstreams of the group name */
  constructor(find: FindSnapshot = () => undefined) {
    this.#find = find;
  }

  /** Takes in the newest state of some objects of the group, and tells what that changes. */
  apply(objects: readonly ObjectChange[]): {
    readonly changes: readonly ResourceChange[];
    readonly failures: readonly TranslationFailure[];
  } {
    const failures = objects.map((object) => this.stage(object)).filter((failure) => failure !== undefined);
    return { changes: this.commit(), failures };
  }

  /** Takes in the newest state of one object; what that changes is told by the next commit. */
  stage({ key, object }: ObjectChange): TranslationFailure | undefined {
    try {
      if (key.kind === "gatewayGroup") this.#applyGroup(valueOf("gatewayGroup", object));
      else if (key.kind === "service") this.#applyService(key.name, object);
      else if (key.kind === "certificate") this.#applyCertificate(key.name, valueOf("certificate", object));
      else if (key.kind === "caCertificate")
        this.#applySecret(keyText(key), valueOf("caCertificate", object), toCaSecret);
      // Registries become no resources: what is found there comes to the endpoints (endpoints.ts).
      return undefined;
    } catch (error) {
      return { key, error };
    }
  }

  /** What everything that was staged since the last commit changes, what objects share included. */
  commit(): readonly ResourceChange[] {
    if (this.#listenersStale) this.#makeListeners();
    const changes = this.#staged.splice(0);
    if (this.#isNew) changes.push({ typeUrl: rds, name: ROUTE_CONFIGURATION, bytes: encodeRouteConfiguration() });
    for (const [name, bytes] of this.#virtualHosts.rebuild()) changes.push({ typeUrl: vhds, name, bytes });
    this.#isNew = false;
    return changes;
  }

  #applyGroup(group: GatewayGroup | undefined): void {
    // With the certificates as they are, so that a group that can't be translated is told now, and changes nothing.
    if (group !== undefined) this.#listenersOf(group);
    this.#group = group;
    this.#listenersStale = true;
  }

  #applyCertificate(name: string, certificate: Certificate | undefined): void {
    this.#applySecret(`certificate ${name}`, certificate, toCertificateSecret);
    const facts = certificate && certificateFacts(certificate);
    // Listeners know what it is for, not what is in it.
    if (isDeepStrictEqual(facts, this.#certificates.get(name))) return;
    if (facts === undefined) this.#certificates.delete(name);
    else this.#certificates.set(name, facts);
    this.#listenersStale = true;
  }

  #applySecret<Value>(key: string, value: Value | undefined, toSecret: (value: Value) => EncodedResource): void {
    const { changes, known } = difference(this.#secrets.get(key) ?? [], value === undefined ? [] : [toSecret(value)]);
    this.#staged.push(...changes);
    if (value === undefined) this.#secrets.delete(key);
    else this.#secrets.set(key, known);
  }

  /** What the group and all of its certificates together become. */
  #makeListeners(): void {
    const listeners = this.#group === undefined ? [] : this.#listenersOf(this.#group);
    const { changes, known } = difference(this.#listeners, listeners);
    this.#staged.push(...changes);
    this.#listeners = known;
    this.#listenersStale = false;
  }

  #listenersOf(group: GatewayGroup): readonly EncodedResource[] {
    const collectors = toCollectorClusters(group).map((cluster) => ({
      ...{ typeUrl: cds, name: cluster.name, bytes: toBinary(ClusterSchema, cluster) },
    }));
    const listeners = group.listeners.flatMap((listener): EncodedResource[] => {
      const resource = toListener(group, listener, this.#certificates);
      if (resource === undefined) return [];
      return [{ typeUrl: lds, name: listener.name, bytes: toBinary(ListenerSchema, resource) }];
    });
    return [...collectors, ...listeners];
  }

  #applyService(name: string, object: StoredObject | undefined): void {
    // All of it is translated before anything is kept, so that a service changes whole or not at all.
    const part: ServicePart | undefined =
      object?.kind === "service" ? translateService(object.value, this.#find) : undefined;
    const { changes, known } = difference(this.#services.get(name) ?? [], part?.resources ?? []);
    this.#staged.push(...changes);
    if (part === undefined) this.#services.delete(name);
    else this.#services.set(name, known);
    // Without its resources: their bytes are the xDS cache's, and would be kept twice here.
    this.#virtualHosts.set(name, part && { hosts: part.hosts, routes: part.routes });
    this.#setUser(name, object?.kind === "service" ? object.value : undefined);
  }

  /**
   * A registry says something else of what upstreams with this discoveryKey need: encodes their endpoints, and nothing else.
   * @returns what that changes, to be handed over at once
   */
  endpointsChanged(key: string): readonly ResourceChange[] {
    const changes: ResourceChange[] = [];
    for (const name of this.#users.of(key)) {
      const service = this.#sources.get(name);
      if (service === undefined) continue;
      const isUser = ({ discovery }: Upstream) => discovery !== undefined && discoveryKey(discovery) === key;
      const endpoints = service.upstreams
        .filter(isUser)
        .map((upstream) => translateEndpoints(service, upstream, this.#find))
        .filter((resource) => resource !== undefined);
      const before = this.#services.get(name) ?? [];
      const { changes: changed, known } = replacements(before, endpoints);
      changes.push(...changed);
      const isOld = (old: KnownResource) => known.every((it) => it.typeUrl !== old.typeUrl || it.name !== old.name);
      this.#services.set(name, [...before.filter(isOld), ...known]);
    }
    // What is staged already may hold older endpoints of the same cluster; the commit must end with these.
    if (this.#staged.length > 0) this.#staged.push(...changes);
    return changes;
  }

  /** Remembers what a service needs of registries. */
  #setUser(name: string, service: Service | undefined): void {
    for (const { discovery } of this.#sources.get(name)?.upstreams ?? []) {
      if (discovery === undefined) continue;
      this.#users.delete(discoveryKey(discovery), name);
    }
    this.#sources.delete(name);
    if (service === undefined || service.upstreams.every(({ discovery }) => discovery === undefined)) return;
    this.#sources.set(name, service);
    for (const { discovery } of service.upstreams) {
      if (discovery === undefined) continue;
      this.#users.add(discoveryKey(discovery), name);
    }
  }
}
