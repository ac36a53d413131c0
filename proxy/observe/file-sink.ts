import { close, open, write } from "node:fs";

/** Paths that mean the process's own output, not a file. */
export const STDOUT = "/dev/stdout";
export const STDERR = "/dev/stderr";

/** Lines are written together after this time or so many characters, whichever comes first (Envoy: 10 s, 64 KiB). */
const FLUSH_MS = 200;
const FLUSH_CHARS = 64 * 1024;

/** What may wait for a disk that does not keep up, in characters; what comes after that is dropped and counted. */
const WAITING_CHARS_MAX = 4 * 1024 * 1024;

/** A file that cannot be opened or written is tried again with the next block, but not more often than this. */
const RETRY_MS = 1_000;

/**
 * Appends lines to a file, joined into blocks. Never waits and never throws: requests go on when the disk does not. Several workers may
 * append to one file, each in blocks of whole lines, written by one write at the end of the file (O_APPEND).
 */
export class FileSink {
  readonly path: string;
  #lines = "";
  #waiting = 0;
  #descriptor: number | undefined;
  #busy = false;
  #reopen = false;
  #timer: NodeJS.Timeout | undefined;
  #idle: (() => void)[] = [];
  /** Lines dropped since the start, because the disk did not keep up or could not be written. */
  dropped = 0;

  constructor(path: string) {
    this.path = path;
    if (path === STDOUT) this.#descriptor = 1;
    if (path === STDERR) this.#descriptor = 2;
  }

  /** Takes a line, with its line end. */
  write(line: string): void {
    if (this.#lines.length + this.#waiting + line.length > WAITING_CHARS_MAX) {
      this.dropped++;
      return;
    }
    this.#lines += line;
    if (this.#lines.length >= FLUSH_CHARS) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS).unref();
  }

  /** Opens the file anew before the next block, for log rotation. */
  reopen(): void {
    if (this.path !== STDOUT && this.path !== STDERR) this.#reopen = true;
  }

  /** Writes what is left; resolves when nothing waits any more. */
  async close(): Promise<void> {
    this.#flush();
    if (this.#busy) await new Promise<void>((resolve) => this.#idle.push(resolve));
    this.#closeFile();
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#busy || this.#lines === "") return;
    const text = this.#lines;
    this.#lines = "";
    this.#waiting = text.length;
    this.#busy = true;
    const block = Buffer.from(text, "utf8");
    if (this.#reopen) {
      this.#reopen = false;
      this.#closeFile();
    }
    if (this.#descriptor !== undefined) this.#write(this.#descriptor, block);
    else {
      open(this.path, "a", (error, descriptor) => {
        if (error !== null) {
          this.#failed(text);
          return;
        }
        this.#descriptor = descriptor;
        this.#write(descriptor, block);
      });
    }
  }

  #write(descriptor: number, block: Buffer): void {
    write(descriptor, block, (error, written) => {
      // A pipe that is full for the moment takes the rest later.
      if (error?.code === "EAGAIN") setTimeout(() => this.#write(descriptor, block), 10);
      else if (error !== null) this.#failed(block.toString("utf8"));
      else if (written < block.length) this.#write(descriptor, block.subarray(written));
      else this.#done(0);
    });
  }

  #failed(text: string): void {
    this.dropped += text.split("\n").length - 1;
    this.#closeFile();
    this.#done(RETRY_MS);
  }

  #done(pauseMs: number): void {
    this.#waiting = 0;
    const next = () => {
      this.#busy = false;
      if (this.#lines.length >= FLUSH_CHARS || this.#idle.length > 0) this.#flush();
      else if (this.#lines !== "") this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS).unref();
      if (this.#busy) return;
      for (const resolve of this.#idle.splice(0)) resolve();
    };
    if (pauseMs === 0 || this.#idle.length > 0) next();
    else setTimeout(next, pauseMs).unref();
  }

  #closeFile(): void {
    const descriptor = this.#descriptor;
    if (descriptor === undefined || this.path === STDOUT || this.path === STDERR) return;
    this.#descriptor = undefined;
    close(descriptor, () => {});
  }
}

/** The sinks of one worker, one for each path, so that the logs of several listeners share a file. */
export class LogSinks {
  readonly #byPath = new Map<string, FileSink>();

  /** The sink of a path; its file is opened with the first block. */
  sink(path: string): FileSink {
    let sink = this.#byPath.get(path);
    if (sink === undefined) {
      sink = new FileSink(path);
      this.#byPath.set(path, sink);
    }
    return sink;
  }

  /** Opens all files anew, after they were moved away. */
  reopen(): void {
    for (const sink of this.#byPath.values()) sink.reopen();
  }

  /** Lines dropped by all of them since the start. */
  get dropped(): number {
    let sum = 0;
    for (const { dropped } of this.#byPath.values()) sum += dropped;
    return sum;
  }

  /** Writes everything that is left. */
  async close(): Promise<void> {
    await Promise.all([...this.#byPath.values()].map((sink) => sink.close()));
  }
}
