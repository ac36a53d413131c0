import { type Logger, pino } from "pino";

/** From the quietest to the loudest. */
export const logLevels = ["silent", "fatal", "error", "warn", "info", "debug", "trace"] as const;
export type LogLevel = (typeof logLevels)[number];

export type { Logger } from "pino";

/** The control plane's log: JSON lines on stderr, written at once so that the last words before a crash are there. */
export function createLogger(level: LogLevel): Logger {
  return pino(
    {
      level,
      base: { program: "sluice-control-plane" },
      timestamp: pino.stdTimeFunctions.isoTime,
      formatters: { level: (label) => ({ level: label }) },
    },
    pino.destination({ dest: 2, sync: true }),
  );
}
