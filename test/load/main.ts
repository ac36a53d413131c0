/**
 * `npm run bench -- [http] [--case ID]… [--seconds N] [--quick] [--compare REVISION]`: measurements beside named peers, in one run; prints ratios. With
 * --compare the native proxy of this tree beside that of another revision; the exit code is 1 if this one costs more. `--case rate-70` needs Go.
 * `npm run bench -- scale`: first sync of many services, and a change among them, at 1,000 and at 10,000.
 * `npm run bench -- discovery`: from a registry's event to the request, and what many watched services cost.
 * `npm run bench -- xds [--quick]`: the xDS server beside go-control-plane's snapshot cache (needs Go).
 */
import { spawnSync } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";

import { cases } from "./cases.ts";
import { compareWithBase } from "./compare.ts";
import { benchDiscovery } from "./discovery.ts";
import { benchHttp, caseIds, extras } from "./http.ts";
import { benchScale } from "./xds-scale.ts";
import { benchXds } from "./xds.ts";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    case: { type: "string", multiple: true, default: [] },
    seconds: { type: "string" },
    quick: { type: "boolean", default: false },
    compare: { type: "string" },
  },
});

const fail = (message: string): never => {
  console.error(message);
  process.exit(1);
};

const benchmarks = ["http", "discovery", "scale", "xds"];
const unknown = positionals.filter((name) => !benchmarks.includes(name));
if (unknown.length > 0) fail(`no benchmark ${unknown.join(", ")}; there are: ${benchmarks.join(", ")}`);
const wrong = values.case.filter((id) => !caseIds.includes(id));
if (wrong.length > 0) fail(`no case ${wrong.join(", ")}; there are: ${caseIds.join(", ")}`);
// --quick tells whether everything works and what the figures are about; it is no measurement to quote.
const seconds = Number(values.seconds ?? (values.quick ? "3" : "4"));
if (!(seconds >= 1 && seconds <= 600)) fail("--seconds must be between 1 and 600");

// As after `npm ci`: a program that finds nothing compiled keeps the compiler, which is 20 MB of what would be measured.
spawnSync(process.execPath, [
  "--disable-warning=ExperimentalWarning",
  join(import.meta.dirname, "../../deploy/warm.ts"),
]);

const isChosen = (id: string) => values.case.length === 0 || values.case.includes(id);
const chosen = cases.filter(({ id }) => isChosen(id));
const rounds = values.quick ? 1 : 3;
if (positionals.includes("discovery")) await benchDiscovery();
else if (positionals.includes("scale")) await benchScale();
else if (positionals.includes("xds")) await benchXds(values.quick);
else if (values.compare === undefined) {
  await benchHttp({ cases: chosen, extras: extras.filter(isChosen), seconds, rounds });
} else if (await compareWithBase(values.compare, chosen, seconds)) process.exitCode = 1;
