import { close, open, write } from "node:fs";

import { Exporters } from "./export/exporters.ts";
import type { Outlet } from "./outlets.ts";

/** Paths that mean the process's own output, not a file. */
export const STDOUT = "/dev/stdout";
export const STDERR = "/dev/stderr";

/** Lines are written together after this time or so many bytes, whichever comes first (Envoy: 10 s, 64 KiB). */
const FLUSH_MS = 200;
const FLUSH_BYTES = 64 * 1024;

/**
 * Lines are joined up to so many characters before they are encoded: each call of the encoder costs as much as several lines, but what stays
 * joined for long is copied by every garbage collection.
 */
const JOIN_CHARS = 8 * 1024;
/** The most bytes that UTF-8 takes for a UTF-16 code unit. */
const BYTES_PER_CHAR_MAX = 3;

/** Room for one more encoding after the last one that was not worth a flush. */
const BLOCK_BYTES = FLUSH_BYTES + JOIN_CHARS * BYTES_PER_CHAR_MAX * 2;

/** What may wait for a disk that does not keep up, in characters; what comes after that is dropped and counted. */
const WAITING_CHARS_MAX = 4 * 1024 * 1024;

/** A file that cannot be opened or written is tried again with the next block, but not more often than this. */
const RETRY_MS = 1_000;

const LF = 0x0a;

/**
 * Appends lines to a file, joined into blocks. Never waits and never throws: requests go on when the disk does not. Several workers may
 * append to one file, each in blocks of whole lines, written by one write at the end of the file (O_APPEND).
 */
export class FileSink implements Outlet {
  readonly path: string;
  /** The newest lines, not encoded yet. */
  #lines = "";
  /** Older lines, encoded, whole blocks first; the last of them has room, which begins at #used. */
  #blocks: Buffer[] = [];
  #used = 0;
  /** A block that was written, for use again. */
  #spare: Buffer | undefined;
  /** Characters of all lines that are not written yet, those of #lines left out. */
  #waiting = 0;
  #descriptor: number | undefined;
  #busy = false;
  /** Those who wait for the file to be let go. */
  #reopening: (() => void)[] = [];
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
    if (this.#lines.length >= JOIN_CHARS) this.#encode();
    if (this.#isDue) this.#flush();
    else this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS).unref();
  }

  /** Opens the file anew before the next block, for log rotation. Resolves when nothing more will be written to the one of before. */
  async reopen(): Promise<void> {
    // At once where nothing is being written: the next line may be long in coming, and what was deleted takes its room until then.
    if (this.#busy) await new Promise<void>((resolve) => this.#reopening.push(resolve));
    else this.#closeFile();
  }

  /** Writes what is left; resolves when nothing waits any more. */
  async close(): Promise<void> {
    this.#flush();
    if (this.#busy) await new Promise<void>((resolve) => this.#idle.push(resolve));
    this.#closeFile();
  }

  get #isDue(): boolean {
    return this.#used >= FLUSH_BYTES || this.#blocks.length > 1;
  }

  /** Encodes what is joined so far into the last block, or into a new one where that has no room for it. */
  #encode(): void {
    const text = this.#lines;
    if (text === "") return;
    this.#lines = "";
    this.#waiting += text.length;
    const bytesMax = text.length * BYTES_PER_CHAR_MAX;
    let block = this.#blocks.at(-1);
    if (block === undefined || this.#used + bytesMax > block.length) {
      if (block !== undefined) this.#blocks[this.#blocks.length - 1] = block.subarray(0, this.#used);
      block = bytesMax > BLOCK_BYTES ? Buffer.allocUnsafeSlow(bytesMax) : this.#takeBlock();
      this.#blocks.push(block);
      this.#used = 0;
    }
    this.#used += block.write(text, this.#used, "utf8");
  }

  #takeBlock(): Buffer {
    const block = this.#spare ?? Buffer.allocUnsafeSlow(BLOCK_BYTES);
    this.#spare = undefined;
    return block;
  }

  #flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    if (this.#busy) return;
    this.#encode();
    const blocks = this.#blocks;
    const last = blocks.pop();
    if (last === undefined) return;
    blocks.push(last.subarray(0, this.#used));
    const chars = this.#waiting;
    this.#blocks = [];
    this.#used = 0;
    this.#busy = true;
    // One write, so that the lines of workers don't mix; more than one block waits only where the disk is slow.
    const bytes = blocks.length === 1 ? (blocks[0] as Buffer) : Buffer.concat(blocks);
    const done = (pauseMs: number) => this.#done(chars, last, pauseMs);
    if (this.#descriptor !== undefined) this.#write(this.#descriptor, bytes, done);
    else {
      open(this.path, "a", (error, descriptor) => {
        if (error !== null) return this.#failed(bytes, done);
        this.#descriptor = descriptor;
        this.#write(descriptor, bytes, done);
      });
    }
  }

  #write(descriptor: number, bytes: Buffer, done: (pauseMs: number) => void): void {
    write(descriptor, bytes, (error, written) => {
      // A pipe that is full for the moment takes the rest later.
      if (error?.code === "EAGAIN") setTimeout(() => this.#write(descriptor, bytes, done), 10);
      else if (error !== null) this.#failed(bytes, done);
      else if (written < bytes.length) this.#write(descriptor, bytes.subarray(written), done);
      else done(0);
    });
  }

  #failed(bytes: Buffer, done: (pauseMs: number) => void): void {
    for (let at = bytes.indexOf(LF); at >= 0; at = bytes.indexOf(LF, at + 1)) this.dropped++;
    this.#closeFile();
    done(RETRY_MS);
  }

  /** So many characters are written, or lost. `block`: one that nobody needs any more. */
  #done(chars: number, block: Buffer, pauseMs: number): void {
    this.#waiting -= chars;
    if (block.length === BLOCK_BYTES) this.#spare = block;
    const next = () => {
      this.#busy = false;
      if (this.#reopening.length > 0) this.#closeFile();
      for (const resolve of this.#reopening.splice(0)) resolve();
      if (this.#isDue || this.#idle.length > 0) this.#flush();
      else if (this.#lines !== "" || this.#blocks.length > 0) {
        this.#timer ??= setTimeout(() => this.#flush(), FLUSH_MS).unref();
      }
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

/** Keys of files among a worker's outlets. */
const FILE = "file ";

/** The sinks of one worker, one for each path, so that the logs of several listeners share a file. */
export class LogSinks {
  /** What sends to collectors. */
  readonly exporters: Exporters;

  constructor(exporters: Exporters = new Exporters()) {
    this.exporters = exporters;
  }

  /** The sink of a path; its file is opened with the first block. */
  sink(path: string): FileSink {
    return this.exporters.outlets.get(FILE + path, () => new FileSink(path));
  }

  /** Opens all files anew, after they were moved away. Resolves when nothing more will be written to those. */
  async reopen(): Promise<void> {
    await Promise.all(Array.from(this.#files(), (sink) => sink.reopen()));
  }

  /** Lines dropped by all of them since they were opened. */
  get dropped(): number {
    let sum = 0;
    for (const { dropped } of this.#files()) sum += dropped;
    return sum;
  }

  /** Writes and sends everything that is left. */
  async close(): Promise<void> {
    await this.exporters.outlets.close();
  }

  *#files(): Iterable<FileSink> {
    for (const outlet of this.exporters.outlets.values()) if (outlet instanceof FileSink) yield outlet;
  }
}
