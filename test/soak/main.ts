/** `npm run soak -- [--minutes N] [--seed S]`: the soak, ten minutes long unless told otherwise; a seed is printed to run it again. */
import { parseArgs } from "node:util";

import { runSoak } from "./soak.ts";

const { values } = parseArgs({
  options: { minutes: { type: "string", default: "10" }, seed: { type: "string" } },
});
const minutes = Number(values.minutes);
const seed = Number(values.seed ?? Date.now() % 1_000_000);
if (!(minutes > 0 && minutes <= 10_000 && Number.isSafeInteger(seed))) {
  console.error("--minutes must be between 0 and 10000, --seed a whole number");
  process.exit(1);
}
console.log(`soak of ${minutes} minutes; the same again: npm run soak -- --minutes ${minutes} --seed ${seed}`);
const say = (text: string) => console.log(text);
const sizes = { envoys: 3, proxies: 2, nativeStreams: 20, recorders: 200 };
const { changes, requests, problems } = await runSoak({ seconds: minutes * 60, changesMin: 100, seed, ...sizes, say });
console.log(`${changes} changes, ${requests} requests`);
for (const problem of problems) console.error(problem);
process.exit(problems.length === 0 ? 0 : 1);
