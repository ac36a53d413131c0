import { fields as cluster } from "./cluster/fields.ts";
import { fields as listener } from "./listen/fields.ts";
import { fields as route } from "./route/fields.ts";
import { fields as tls } from "./tls/fields.ts";
import { mergeFieldTables } from "./xds/fields.ts";

/** What this proxy does with each field of Envoy's messages; what is not here is refused (xds/fields.ts). */
export const supportedFields = mergeFieldTables(cluster, listener, route, tls);
