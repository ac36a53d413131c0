import { defineConfig } from "vitest/config";

import { SlowestPeerLast } from "./sequence.ts";

/** `npm run test:interop`: against real Envoy, PostgreSQL, grpcurl and the like, which the tests install. */
export default defineConfig({
  test: {
    root: `${import.meta.dirname}/../..`,
    include: ["test/interop/**/*.test.ts", "test/differential/**/*.test.ts"],
    // They share ports and two cores.
    fileParallelism: false,
    globalSetup: ["test/interop/prepare.ts"],
    sequence: { sequencer: SlowestPeerLast },
    pool: "forks",
    testTimeout: 120_000,
    hookTimeout: 900_000,
  },
});
