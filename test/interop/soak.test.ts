/** Less than a minute of `npm run soak`, with all of its data planes. SLUICE_SOAK_SEED runs another course. */
import { expect, test } from "vitest";

import { runSoak } from "../soak/soak.ts";

const SEED = Number(process.env["SLUICE_SOAK_SEED"] ?? 20261121);

test("random changes and a killed control plane: all hold the same, no request fails, memory is flat", async () => {
  const sizes = { envoys: 3, proxies: 2, nativeStreams: 20, recorders: 200 };
  const outcome = await runSoak({
    seconds: 30,
    changesMin: 40,
    seed: SEED,
    ...sizes,
    say: (text) => console.log(text),
  });
  expect(outcome.problems).toEqual([]);
});
