/** What discovery costs: from a registry's event to the request, and many services at rest, under changes and listed anew. */
import { benchEventToRequest } from "./discovery-latency.ts";
import { benchNacosEventToRequest } from "./discovery-nacos.ts";
import { benchManyServices } from "./discovery-scale.ts";
import { table } from "./table.ts";

/** Measures, and prints tables. */
export async function benchDiscovery(): Promise<void> {
  for (const measure of [benchEventToRequest, benchNacosEventToRequest, benchManyServices]) {
    console.log(table(["what", "measured", "target"], await measure()));
  }
}
