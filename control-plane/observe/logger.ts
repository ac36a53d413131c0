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
    stderr(),
  );
}

/** What waits for room where the log can't be written, in bytes; further lines are lost. */
const WAITING_BYTES_MAX = 1024 * 1024;

/** A log on a full disk, or of a terminal that is gone, is no reason to end, and there is nobody who could be told. */
function stderr() {
  const destination = pino.destination({ dest: 2, sync: true, maxLength: WAITING_BYTES_MAX });
  // Each line has what waits tried again.
  destination.on("error", () => {});
  // A line that is lost does not by itself. (Not flushSync(), which tries without end.)
  destination.on("drop", () => destination.write(""));
  return destination;
}
