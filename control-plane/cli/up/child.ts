import { type ChildProcess, fork } from "node:child_process";
import { setTimeout as sleep } from "node:timers/promises";

import { CliError } from "../errors.ts";
import { type ChildMessage, isChildMessage, type StartMessage } from "./messages.ts";

const BACKOFF_MS_MIN = 200;
const BACKOFF_MS_MAX = 30_000;

/** A program that ran for so long did not fail at once: the next wait is the shortest again. */
const STABLE_MS = 60_000;

/** What becomes of a supervised program, for whoever prints it. */
export interface ChildEvents {
  /** It ended although nobody asked it to, and starts again after `waitMs`. */
  restarting(name: string, reason: string, waitMs: number): void;
  /** It runs again. */
  restarted(name: string): void;
}

export interface ChildSpec {
  /** As operators say it: "control plane". */
  readonly name: string;
  /** Arguments for `sluice`. */
  readonly args: readonly string[];
  /** Options of Node's besides ours. */
  readonly execArgv?: readonly string[];
  readonly env: NodeJS.ProcessEnv;
  /** How long it may take to end after SIGTERM. */
  readonly stopMsMax: number;
}

/**
 * A program kept running. It is forked with an IPC channel, which closes when this process dies in whatever way, so that it ends too.
 * A failure of the first start is final; afterwards it is started again, with longer and longer waits.
 */
export class Child {
  /** Where it listens. Rejects with a CliError if the first start fails. */
  readonly ready: Promise<Readonly<Record<string, string>>>;
  readonly #spec: ChildSpec;
  readonly #events: ChildEvents;
  readonly #main: string;
  readonly #stopping = new AbortController();
  #process: ChildProcess | undefined;
  #startMessage: StartMessage | undefined;
  /** The process that runs now has said where it listens. */
  #isReady = false;
  readonly #running: Promise<void>;

  /** `main`: the file of the CLI's entry. */
  constructor(spec: ChildSpec, main: string, events: ChildEvents) {
    this.#spec = spec;
    this.#events = events;
    this.#main = main;
    const first = Promise.withResolvers<Readonly<Record<string, string>>>();
    this.ready = first.promise;
    // Whoever stops before it is ready doesn't ask.
    this.ready.catch(() => {});
    this.#running = this.#run(first);
  }

  /** Lets a program that waits start its work, now and after each restart. */
  begin(message: StartMessage): void {
    this.#startMessage = message;
    this.#sendStart();
  }

  #sendStart(): void {
    // A program that has just ended gets it when it starts again.
    if (this.#startMessage !== undefined && this.#process?.connected === true) {
      this.#process.send(this.#startMessage, () => {});
    }
  }

  /** Has it start a successor that takes over (SIGHUP). One that is starting is new already, and would be ended by the signal. */
  restart(): void {
    if (this.#isReady) this.#process?.kill("SIGHUP");
  }

  /** Ends it gracefully, and by force when it takes too long. */
  async stop(): Promise<void> {
    this.#stopping.abort();
    const process = this.#process;
    if (process === undefined) return this.#running;
    process.kill("SIGTERM");
    const timer = setTimeout(() => process.kill("SIGKILL"), this.#spec.stopMsMax);
    await this.#running;
    clearTimeout(timer);
  }

  async #run(first: PromiseWithResolvers<Readonly<Record<string, string>>>): Promise<void> {
    let waitMs = BACKOFF_MS_MIN;
    let wasReady = false;
    while (!this.#stopping.signal.aborted) {
      const startedMs = performance.now();
      const ended = await this.#runOnce((addresses) => {
        if (wasReady) this.#events.restarted(this.#spec.name);
        wasReady = true;
        first.resolve(addresses);
      });
      if (this.#stopping.signal.aborted || !wasReady) {
        first.reject(ended);
        return;
      }
      if (performance.now() - startedMs > STABLE_MS) waitMs = BACKOFF_MS_MIN;
      this.#events.restarting(this.#spec.name, ended.message, waitMs);
      await sleep(waitMs, undefined, { signal: this.#stopping.signal }).catch(() => {});
      waitMs = Math.min(waitMs * 2, BACKOFF_MS_MAX);
    }
  }

  /** Runs it to its end; the answer says how it ended. */
  #runOnce(onReady: (addresses: Readonly<Record<string, string>>) => void): Promise<CliError> {
    const { promise, resolve } = Promise.withResolvers<CliError>();
    const child = fork(this.#main, this.#spec.args, {
      env: this.#spec.env,
      execArgv: ["--disable-warning=ExperimentalWarning", ...(this.#spec.execArgv ?? [])],
      stdio: ["ignore", "inherit", "inherit", "ipc"],
    });
    this.#process = child;
    this.#sendStart();
    let failure: (ChildMessage & { kind: "failed" }) | undefined;
    child.on("message", (message) => {
      if (!isChildMessage(message)) return;
      if (message.kind === "ready") {
        this.#isReady = true;
        onReady(message.addresses);
      } else failure = message;
    });
    const end = (reason: string) => {
      this.#process = undefined;
      this.#isReady = false;
      resolve(failure === undefined ? new CliError(`the ${this.#spec.name} ${reason}`) : toError(failure));
    };
    child.on("error", (error) => {
      // Without a process there is no "exit" either.
      if (child.pid === undefined) end(`could not be started: ${error.message}`);
    });
    // Not "close": the program's own children may hold its output.
    child.on("exit", (code, signal) =>
      end(signal === null ? `ended with exit code ${code}` : `was ended by ${signal}`),
    );
    return promise;
  }
}

const toError = ({ message, fix }: ChildMessage & { kind: "failed" }) => new CliError(message, ...fix);
