import { DiscoveryError } from "../source.ts";

/** Longest line of a watch stream that is read, in bytes. etcd takes objects of at most 1.5 MiB, of which JSON makes little more. */
const LINE_BYTES_MAX = 8 << 20;

/** Cuts a stream of bytes into its lines, however the network cut the bytes. It holds one unfinished line, of bounded length. */
export class LineSplitter {
  readonly #bytesMax: number;
  /** The pieces of the line that has not ended yet. */
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(bytesMax = LINE_BYTES_MAX) {
    this.#bytesMax = bytesMax;
  }

  /**
   * The lines that end in `chunk`, without their line feeds and without empty ones.
   * @throws {DiscoveryError} bad_answer, when the unfinished line is longer than the limit.
   */
  push(chunk: Buffer): string[] {
    const lines: string[] = [];
    let from = 0;
    for (let end = chunk.indexOf(0x0a); end !== -1; end = chunk.indexOf(0x0a, from)) {
      // Decoded once a line is whole: a character may be cut between two chunks.
      this.#keep(chunk.subarray(from, end));
      const line = this.#pieces.length === 1 ? this.#pieces[0] : Buffer.concat(this.#pieces);
      if (line !== undefined && line.length > 0) lines.push(line.toString("utf8"));
      this.#pieces = [];
      this.#bytes = 0;
      from = end + 1;
    }
    if (from < chunk.length) this.#keep(chunk.subarray(from));
    return lines;
  }

  /** Whether the stream, should it end here, ends within a line. */
  get unfinished(): boolean {
    return this.#bytes > 0;
  }

  #keep(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#bytes > this.#bytesMax) {
      throw new DiscoveryError("bad_answer", `a line of more than ${this.#bytesMax} bytes`);
    }
    this.#pieces.push(piece);
  }
}
