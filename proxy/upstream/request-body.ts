/** How much of a request's body is kept for sending it again, or until there is a connection; one more piece may come on top. */
export const REPLAY_BYTES_MAX = 65_536;

const NONE: readonly Buffer[] = [];

/** The part of a request's body that came so far, as long as it may have to be sent (again). */
export class RequestBody {
  // Most requests have no body, and so no list either.
  #pieces: Buffer[] | undefined = undefined;
  #bytes = 0;
  #replayable = true;

  /** Whether all that came so far is still here. */
  get replayable(): boolean {
    return this.#replayable;
  }

  /** Whether it has grown to its bound. */
  get full(): boolean {
    return this.#bytes >= REPLAY_BYTES_MAX;
  }

  /** Keeps a piece, which stays as it is. */
  add(piece: Buffer): void {
    (this.#pieces ??= []).push(piece);
    this.#bytes += piece.length;
  }

  /** All that is kept, from the first byte. */
  pieces(): readonly Buffer[] {
    return this.#pieces ?? NONE;
  }

  /** Forgets what is kept: a body, if there was any, cannot be sent again. */
  release(): void {
    if (this.#bytes > 0) this.#replayable = false;
    this.#pieces = undefined;
    this.#bytes = 0;
  }
}
