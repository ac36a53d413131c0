import { onTestFinished } from "vitest";

/** Collects the messages of what is thrown and nobody catches, in place of the test runner, which fails the test for it. For the running test. */
export function collectUncaught(): string[] {
  const listeners = process.rawListeners("uncaughtException") as NodeJS.UncaughtExceptionListener[];
  process.removeAllListeners("uncaughtException");
  onTestFinished(() => {
    process.removeAllListeners("uncaughtException");
    for (const listener of listeners) process.on("uncaughtException", listener);
  });
  const thrown: string[] = [];
  process.on("uncaughtException", ({ message }) => thrown.push(message));
  return thrown;
}
