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
    // For a test that hangs. What waits within them has its own bounds, and some build or download what they need on a fresh machine.
    testTimeout: 1_200_000,
    hookTimeout: 1_800_000,
  },
});
