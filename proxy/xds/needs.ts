import type { ResourceType } from "#proto/resource-types.ts";

import { NameCounts } from "./names.ts";
import type { References } from "./references.ts";

/** The types of which the proxy needs what others of its resources name. */
export type NeededName = "EDS" | "RDS" | "SDS" | "VHDS";

/** What resources name, counted by type: what a control plane is to be asked for. Of virtual hosts it is "*", or nothing. */
export class Needs {
  readonly #byType: Readonly<Record<NeededName, NameCounts>> = {
    EDS: new NameCounts(),
    RDS: new NameCounts(),
    SDS: new NameCounts(),
    VHDS: new NameCounts(),
  };

  /** The names of a type; undefined for one of which everything is needed, always. */
  of(shortName: ResourceType["shortName"]): NameCounts | undefined {
    return shortName === "CDS" || shortName === "LDS" ? undefined : this.#byType[shortName];
  }

  /** Another resource names these. */
  add({ endpoints, routes, secrets, virtualHosts }: References): void {
    this.#byType.EDS.add(endpoints);
    this.#byType.RDS.add(routes);
    this.#byType.SDS.add(secrets);
    this.#byType.VHDS.add(virtualHosts);
  }

  /** A resource that named these no longer does. */
  remove(references: References | undefined): void {
    if (references === undefined) return;
    this.#byType.EDS.remove(references.endpoints);
    this.#byType.RDS.remove(references.routes);
    this.#byType.SDS.remove(references.secrets);
    this.#byType.VHDS.remove(references.virtualHosts);
  }

  /** Names of a type that are no longer needed since the last call. */
  takeReleased(shortName: NeededName): string[] {
    return this.#byType[shortName].takeReleased();
  }
}
