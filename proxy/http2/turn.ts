/** Something that gathers output, to be written when all that came together was handled. */
export interface Gathering {
  /** Writes what has gathered. */
  flush(): void;
}

/** Who has something to write. */
let gathering: Gathering[] = [];
/** How many reads of HTTP/2 connections are being handled, one inside the other. */
let depth = 0;
let isQueued = false;

/**
 * Has flush() called when the read that is being handled is done with, or else when the event is: what one read brings for many streams leaves each connection in one
 * write. To be called once until then.
 */
export function flushAtEnd(one: Gathering): void {
  gathering.push(one);
  if (depth > 0 || isQueued) return;
  isQueued = true;
  setImmediate(flushAll);
}

/** A read begins to be handled. */
export function beginRead(): void {
  depth++;
}

/** It was handled; to be called in any case. */
export function endRead(): void {
  depth--;
  if (depth === 0) flushAll();
}

function flushAll(): void {
  isQueued = false;
  // Whoever is flushed may have more written, by others or by itself.
  while (gathering.length > 0) {
    const all = gathering;
    gathering = [];
    for (const one of all) one.flush();
  }
}
