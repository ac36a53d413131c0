/**
 * Preloaded into a program under test (NODE_OPTIONS="--expose-gc --import=…"): at SIGUSR2 it collects garbage and prints the heap that is
 * really in use to standard error, as a line "heap BYTES".
 */
process.on("SIGUSR2", () => {
  globalThis.gc?.();
  process.stderr.write(`heap ${process.memoryUsage().heapUsed}\n`);
});
