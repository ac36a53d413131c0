import { defineConfig } from "vitest/config";

/** `npm test`: everything that needs nothing but npm. */
export default defineConfig({
  test: {
    root: `${import.meta.dirname}/..`,
    include: ["{control-plane,discovery,proto,proxy,test}/**/*.test.ts"],
    exclude: ["test/interop/**", "test/differential/**", "proto/gen/**"],
    // The machines that run this have few cores, and many tests start several processes each.
    maxWorkers: 2,
    pool: "forks",
    // Only what hangs meets these: a wait within a test gives up after 60 s and says what it waited for, and there may be several.
    testTimeout: 600_000,
    hookTimeout: 600_000,
    expect: { poll: { timeout: 60_000 } },
  },
});
