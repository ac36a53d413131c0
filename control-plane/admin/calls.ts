import { Code, type ConnectError } from "@connectrpc/connect";

import type { Logger } from "../observe/logger.ts";
import type { MetricsRegistry } from "../observe/metrics.ts";

/** One call of the admin API, when it has ended. */
export interface Call {
  /** Full name of the service. */
  readonly service: string;
  readonly method: string;
  readonly requestId: string;
  /** Empty if the caller is unknown. */
  readonly actor: string;
  readonly durationMs: number;
  /** What the caller was told; undefined for success. */
  readonly error: ConnectError | undefined;
  /** What was thrown; the log shows it when it was a bug. */
  readonly cause: unknown;
}

/** Takes note of calls: counts, durations, and one line of the log for each. */
export type RecordCall = (call: Call) => void;

/** Only methods that read, or say that nothing changed; all others are logged even when they succeed. */
const READ = /^(Get|Heartbeat|List|Export|Watch|Check|ServerReflectionInfo)/;

export function callRecorder(metrics: MetricsRegistry, log: Logger): RecordCall {
  const requests = metrics.counter({
    name: "sluice_admin_requests_total",
    help: "Calls of the admin API that have ended, streams included.",
    labels: ["service", "method", "code"],
  });
  const seconds = metrics.histogram({
    name: "sluice_admin_request_duration_seconds",
    help: "How long calls of the admin API took.",
    labels: ["service", "method"],
  });
  return ({ service, method, requestId, actor, durationMs, error, cause }) => {
    const code = error === undefined ? "ok" : codeName(error.code);
    requests.add(1, service, method, code);
    seconds.observe(durationMs / 1000, service, method);
    const fields = {
      requestId,
      actor,
      call: `${service}/${method}`,
      code,
      durationMs: Math.round(durationMs * 10) / 10,
    };
    if (error?.code === Code.Canceled) log.debug(fields, "call canceled");
    else if (error === undefined) log[READ.test(method) ? "debug" : "info"](fields, "call");
    else if (bugs.has(error.code)) log.error({ ...fields, err: cause }, "call failed");
    else log.info({ ...fields, error: error.rawMessage }, "call refused");
  };
}

/** Codes that mean that we, not the caller, did something wrong. */
const bugs = new Set([Code.Internal, Code.Unknown, Code.DataLoss]);

/** As the Connect protocol writes it: "invalid_argument". */
const codeName = (code: Code) => Code[code].replace(/(?<=[a-z])[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
