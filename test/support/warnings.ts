import { onTestFinished } from "vitest";

/** Collects what Node warns of, such as a time that its timers can't wait, for the running test. */
export function collectWarnings(): string[] {
  const warnings: string[] = [];
  const onWarning = ({ name, message }: Error) => warnings.push(`${name}: ${message}`);
  process.on("warning", onWarning);
  onTestFinished(() => void process.off("warning", onWarning));
  return warnings;
}
