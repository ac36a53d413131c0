import { toBinary } from "@bufbuild/protobuf";

import { ListenerSchema } from "#envoy/config/listener/v3/listener_pb.ts";
import { resourceType } from "#proto/resource-types.ts";

import type { ObjectKey, StoredObject } from "../model/objects.ts";
import { toListener } from "./listener.ts";
import { ROUTE_CONFIGURATION } from "./names.ts";
import { encodeRouteConfiguration } from "./route-configuration.ts";
import { type EncodedResource, type ServicePart, translateService } from "./service.ts";
import { VirtualHosts } from "./virtual-hosts.ts";

/** What happened to an object of the model. */
export interface ObjectChange {
  readonly key: ObjectKey;
  /** Undefined: it was deleted. */
  readonly object: StoredObject | undefined;
}

/** A resource that is new or different, encoded; without bytes, one that is gone. */
export interface ResourceChange extends Omit<EncodedResource, "bytes"> {
  readonly bytes: Uint8Array | null;
}

/** An object that could not be translated: a bug, since it was found valid when it was written. */
export interface TranslationFailure {
  readonly key: ObjectKey;
  readonly error: unknown;
}

const lds = resourceType("LDS").typeUrl;
const rds = resourceType("RDS").typeUrl;

/**
 * The resources of one gateway group, kept up to date object by object: an object that changes is translated again,
 * and whatever it shares with others is put together anew from parts that are there. The outcome depends on the
 * objects alone, not on the way to them, as long as nothing fails; an object that fails keeps its last good
 * resources.
 */
export class GroupTranslation {
  readonly #services = new Map<string, readonly EncodedResource[]>();
  readonly #virtualHosts = new VirtualHosts();
  #listeners: readonly EncodedResource[] = [];
  readonly #staged: ResourceChange[] = [];
  #isNew = true;

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
      if (key.kind === "gatewayGroup") this.#applyGroup(object, this.#staged);
      else if (key.kind === "service") this.#applyService(key.name, object, this.#staged);
      // Registries become no resources: what is found there comes to the endpoints (endpoints.ts).
      return undefined;
    } catch (error) {
      return { key, error };
    }
  }

  /** What everything that was staged since the last commit changes, what objects share included. */
  commit(): readonly ResourceChange[] {
    const changes = this.#staged.splice(0);
    if (this.#virtualHosts.rebuild() || this.#isNew) {
      const bytes = encodeRouteConfiguration(this.#virtualHosts.encoded);
      changes.push({ typeUrl: rds, name: ROUTE_CONFIGURATION, bytes });
    }
    this.#isNew = false;
    return changes;
  }

  #applyGroup(object: StoredObject | undefined, changes: ResourceChange[]): void {
    const group = object?.kind === "gatewayGroup" ? object.value : undefined;
    const listeners = (group?.listeners ?? []).map((listener): EncodedResource => {
      const bytes = group === undefined ? new Uint8Array() : toBinary(ListenerSchema, toListener(group, listener));
      return { typeUrl: lds, name: listener.name, bytes };
    });
    changes.push(...difference(this.#listeners, listeners));
    this.#listeners = listeners;
  }

  #applyService(name: string, object: StoredObject | undefined, changes: ResourceChange[]): void {
    // All of it is translated before anything is kept, so that a service changes whole or not at all.
    const part: ServicePart | undefined = object?.kind === "service" ? translateService(object.value) : undefined;
    changes.push(...difference(this.#services.get(name) ?? [], part?.resources ?? []));
    if (part === undefined) this.#services.delete(name);
    else this.#services.set(name, part.resources);
    this.#virtualHosts.set(name, part);
  }
}

/** How to come from some resources to others. */
function difference(before: readonly EncodedResource[], after: readonly EncodedResource[]): ResourceChange[] {
  const key = ({ typeUrl, name }: EncodedResource) => `${typeUrl} ${name}`;
  const old = new Map(before.map((resource) => [key(resource), resource]));
  const changes: ResourceChange[] = [];
  for (const resource of after) {
    const previous = old.get(key(resource));
    old.delete(key(resource));
    if (previous === undefined || Buffer.compare(previous.bytes, resource.bytes) !== 0) changes.push(resource);
  }
  for (const { typeUrl, name } of old.values()) changes.push({ typeUrl, name, bytes: null });
  return changes;
}
