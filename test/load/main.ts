/** `npm run bench [-- CASE …]`: measurements beside named peers, in one run; prints ratios. */
import { benchHttp } from "./http.ts";

const benchmarks: Record<string, () => Promise<void>> = { http: benchHttp };

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in benchmarks));
if (unknown.length > 0) {
  console.error(`no benchmark ${unknown.join(", ")}; there are: ${Object.keys(benchmarks).join(", ")}`);
  process.exit(1);
}
for (const [name, bench] of Object.entries(benchmarks)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  console.log(`\n## ${name}\n`);
  await bench();
}
