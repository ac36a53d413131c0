import { timestampDate } from "@bufbuild/protobuf/wkt";

import { toPlain } from "#proto/plain.ts";
import { type Load, LoadSchema, LoadService } from "#sluice/admin/v1/load_service_pb.ts";

import { withClient } from "../client.ts";
import { exitCode } from "../errors.ts";
import type { GlobalOptions } from "../options.ts";
import { print } from "../output.ts";
import { ago, table } from "../table.ts";
import { type Paint, printable, type Terminal } from "../terminal.ts";

const PAGE_SIZE = 1_000;

/** `sluice loads [SERVICE]`: the load of each upstream and locality, as data planes report it. */
export async function loads(
  service: string | undefined,
  options: GlobalOptions & { readonly group?: string },
  terminal: Terminal,
): Promise<number> {
  const all: Load[] = [];
  await withClient(options, async (client) => {
    const api = client.of(LoadService);
    let pageToken = "";
    do {
      const page = await api.listLoads({ gatewayGroup: options.group ?? "", pageSize: PAGE_SIZE, pageToken });
      all.push(...page.loads);
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
  });
  const shown = all.filter(({ cluster }) => service === undefined || cluster.startsWith(`${service}/`));
  const data = { loads: shown.map((load) => toPlain(LoadSchema, load)) };
  await print(terminal, options.output, data, () => loadTable(shown, new Date(), terminal.style));
  return exitCode.ok;
}

function loadTable(shown: readonly Load[], now: Date, style: Paint): string {
  if (shown.length === 0) {
    return "No data plane reports load: an Envoy does with sluice bootstrap envoy --load-reports.";
  }
  const head = ["GROUP", "UPSTREAM", "LOCALITY", "REQ/S", "ACTIVE", "OK", "FAILED", "DROPPED", "LAST REPORT"];
  const rows = shown.map((load) => [
    printable(load.gatewayGroup),
    printable(load.cluster),
    printable(load.locality) || "-",
    load.requestsPerSecond.toFixed(1),
    String(load.inProgress),
    String(load.successful),
    load.failed > 0n ? style("red", String(load.failed)) : "0",
    load.dropped > 0n ? style("yellow", String(load.dropped)) : "0",
    load.reportTime === undefined ? "never" : `${ago(timestampDate(load.reportTime), now)} ago`,
  ]);
  const [headLine = "", ...lines] = table(head, rows).split("\n");
  return [style("dim", headLine), ...lines].join("\n");
}
