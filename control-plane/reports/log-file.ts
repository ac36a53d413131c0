import { close, open, write } from "node:fs";

/** The path that means the program's own output. */
export const STDOUT = "-";

/** What may wait for a disk that doesn't keep up, in characters; lines that come then are dropped. */
const WAITING_CHARS_MAX = 8 * 1024 * 1024;

/** A file that can't be opened or written is tried again after this. */
const RETRY_MS = 1_000;
/** A pipe that is full for the moment is tried again after this. */
const FULL_PIPE_MS = 10;

/** Appends lines to a file, or to standard output. It never waits and never throws: who writes goes on when the disk doesn't. */
export class LogFile {
  readonly #path: string;
  readonly #failed: (error: Error) => void;
  #lines: string[] = [];
  #waitingChars = 0;
  #descriptor: number | undefined;
  #busy = false;
  /** Those who wait for the file to be let go. */
  #reopening: (() => void)[] = [];
  #closed: (() => void) | undefined;
  /** Lines that were dropped, because the disk did not keep up or could not be written. */
  dropped = 0;

  /** @param failed is told why lines are lost, once for each try */
  constructor(path: string, failed: (error: Error) => void) {
    this.#path = path;
    this.#failed = failed;
    if (path === STDOUT) this.#descriptor = 1;
  }

  /** Takes a line, without its line end. */
  write(line: string): void {
    if (this.#waitingChars + line.length > WAITING_CHARS_MAX || this.#closed !== undefined) {
      this.dropped++;
      return;
    }
    this.#lines.push(line);
    this.#waitingChars += line.length;
    if (this.#busy) return;
    this.#busy = true;
    // What comes in the same turn goes out in the same write.
    setImmediate(() => this.#flush());
  }

  /** Opens the file anew before the next write, after it was moved away. Resolves when nothing more will be written to the one of before. */
  async reopen(): Promise<void> {
    // At once where nothing is being written: the next line may be long in coming, and what was deleted takes its room until then.
    if (this.#busy) await new Promise<void>((resolve) => this.#reopening.push(resolve));
    else this.#closeFile();
  }

  /** Writes what waits; what cannot be written is lost. */
  async close(): Promise<void> {
    await new Promise<void>((resolve) => {
      this.#closed = resolve;
      if (!this.#busy) resolve();
    });
    this.#closeFile();
  }

  #flush(): void {
    const lines = this.#lines;
    this.#letGo();
    if (lines.length === 0) {
      this.#busy = false;
      this.#closed?.();
      return;
    }
    this.#lines = [];
    this.#waitingChars = 0;
    const bytes = Buffer.from(`${lines.join("\n")}\n`);
    if (this.#descriptor !== undefined) {
      this.#append(this.#descriptor, bytes, lines.length);
      return;
    }
    open(this.#path, "a", 0o640, (error, descriptor) => {
      if (error !== null) return this.#lose(error, lines.length);
      this.#descriptor = descriptor;
      this.#append(descriptor, bytes, lines.length);
    });
  }

  #append(descriptor: number, bytes: Buffer, lines: number): void {
    write(descriptor, bytes, (error, written) => {
      if (error?.code === "EAGAIN") setTimeout(() => this.#append(descriptor, bytes, lines), FULL_PIPE_MS);
      else if (error !== null) this.#lose(error, lines);
      else if (written < bytes.length) this.#append(descriptor, bytes.subarray(written), lines);
      else this.#flush();
    });
  }

  #lose(error: Error, lines: number): void {
    this.dropped += lines;
    this.#closeFile();
    this.#letGo();
    this.#failed(error);
    if (this.#closed === undefined) setTimeout(() => this.#flush(), RETRY_MS).unref();
    else this.#closed();
  }

  /** Nothing is being written. */
  #letGo(): void {
    if (this.#reopening.length > 0) this.#closeFile();
    for (const resolve of this.#reopening.splice(0)) resolve();
  }

  #closeFile(): void {
    if (this.#descriptor === undefined || this.#path === STDOUT) return;
    close(this.#descriptor, () => {});
    this.#descriptor = undefined;
  }
}
