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
    testTimeout: 90_000,
    hookTimeout: 120_000,
  },
});
