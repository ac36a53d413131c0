/** What a program that `sluice up` started tells it, over the IPC channel. */
export type ChildMessage =
  | {
      readonly kind: "ready";
      /** Where it listens, by purpose: "admin" and "xds", or "proxyAdmin". */
      readonly addresses: Readonly<Record<string, string>>;
    }
  | {
      /** It can't start; it exits next. */
      readonly kind: "failed";
      readonly message: string;
      readonly fix: readonly string[];
    };

/** Tells the supervisor, where there is one. The answer: whether there is. */
export function tellSupervisor(message: ChildMessage): boolean {
  if (process.send === undefined || !process.connected) return false;
  // A supervisor that has just died is noticed by the "disconnect" event.
  process.send(message, undefined, undefined, () => {});
  return true;
}

/** Whether a received value is a message of this kind; the channel is private, so only bugs send others. */
export const isChildMessage = (value: unknown): value is ChildMessage =>
  typeof value === "object" && value !== null && "kind" in value && (value.kind === "ready" || value.kind === "failed");

/** What `sluice up` tells a program that it asked to wait (AWAIT_START). */
export interface StartMessage {
  readonly kind: "start";
  /** Where the control plane is. */
  readonly xds: string;
}

/** The environment variable by which the supervisor asks a proxy to load, and then to wait for a StartMessage. */
export const AWAIT_START = "SLUICE_AWAIT_START";

/** Waits for the supervisor's word where it asked for that; `otherwise` is the address where it did not. */
export async function startAddress(otherwise: string): Promise<string> {
  if (process.env[AWAIT_START] === undefined || !process.connected) return otherwise;
  const { promise, resolve } = Promise.withResolvers<string>();
  // Messages that came before the first listener are kept.
  process.on("message", (message) => {
    if (isStartMessage(message)) resolve(message.xds);
  });
  return promise;
}

const isStartMessage = (value: unknown): value is StartMessage =>
  typeof value === "object" && value !== null && "kind" in value && value.kind === "start" && "xds" in value;
