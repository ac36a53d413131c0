/**
 * `npm run bench -- [http] [--case ID]… [--seconds N] [--compare REVISION]`: measurements beside named peers, in one run; prints ratios. With
 * --compare the native proxy of this tree beside that of another revision; the exit code is 1 if this one costs more.
 * `npm run bench -- discovery`: from a registry's event to the request, and what many watched services cost.
 * `npm run bench -- xds [--quick]`: the xDS server beside go-control-plane's snapshot cache (needs Go).
 */
import { parseArgs } from "node:util";

import { cases } from "./cases.ts";
import { compareWithBase } from "./compare.ts";
import { benchDiscovery } from "./discovery.ts";
import { benchHttp } from "./http.ts";
import { benchXds } from "./xds.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    case: { type: "string", multiple: true, default: [] },
    seconds: { type: "string", default: "4" },
    compare: { type: "string" },
    quick: { type: "boolean", default: false },
  },
});

const fail = (message: string): never => {
  console.error(message);
  process.exit(1);
};

const benchmarks = ["http", "discovery", "xds"];
const unknown = positionals.filter((name) => !benchmarks.includes(name));
if (unknown.length > 0) fail(`no benchmark ${unknown.join(", ")}; there are: ${benchmarks.join(", ")}`);
const wrong = values.case.filter((id) => !cases.some((each) => each.id === id));
if (wrong.length > 0) fail(`no case ${wrong.join(", ")}; there are: ${cases.map(({ id }) => id).join(", ")}`);
const seconds = Number(values.seconds);
if (!(seconds >= 1 && seconds <= 600)) fail("--seconds must be between 1 and 600");

const chosen = cases.filter(({ id }) => values.case.length === 0 || values.case.includes(id));
if (positionals.includes("discovery")) await benchDiscovery();
else if (positionals.includes("xds")) await benchXds(values.quick);
else if (values.compare === undefined) await benchHttp(chosen, seconds);
else if (await compareWithBase(values.compare, chosen, seconds)) process.exitCode = 1;
