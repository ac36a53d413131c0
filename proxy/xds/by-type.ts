import type { ResourceType } from "#proto/resource-types.ts";

/** A resource type as it is called here. */
export type ShortName = ResourceType["shortName"];

/** One of something for each type. */
export const byType = <T>(make: () => T): Record<ShortName, T> => ({
  CDS: make(),
  EDS: make(),
  SDS: make(),
  LDS: make(),
  RDS: make(),
  VHDS: make(),
});
