/** Something that gathers output, to be written at the end of the event loop's turn. */
export interface Gathering {
  writeGathered(): void;
}

let gathering: Gathering[] = [];

/**
 * Has it written when the events of this turn of the event loop have been handled. To be called once until then.
 *
 * A write wakes whoever waits for it on another CPU, which costs more than the write where he sleeps; on a virtual machine it leaves the machine. Of the
 * writes that are made one right behind the other only the first does: written each at its time, a request cost up to 1.6 times the CPU.
 */
export function atTurnEnd(one: Gathering): void {
  if (gathering.push(one) === 1) setImmediate(writeAll);
}

function writeAll(): void {
  const all = gathering;
  gathering = [];
  let at = 0;
  try {
    while (at < all.length) all[at++]?.writeGathered();
  } finally {
    // A worker in which something was thrown goes on until it is replaced (workers.ts), and the others' responses are none the worse for it.
    while (at < all.length) atTurnEnd(all[at++] as Gathering);
  }
}
