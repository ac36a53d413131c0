import { getHeapStatistics, setFlagsFromString } from "node:v8";

/** By how much of itself V8's heap grows at least before all of it is looked through for garbage. */
const GROWTH_PERCENT_MIN = 30;
/** And by how many bytes: less would be a look every few changes while a thousand data planes are connected, and each costs as much as two changes. */
const GROWTH_BYTES_MIN = 48 * 1024 * 1024;
/** So much of what V8 holds has to be unused, as a share and in bytes, for its objects to be moved together. */
const WASTE_PERCENT_MIN = 45;
const WASTE_BYTES_MIN = 64 * 1024 * 1024;
/** V8 is told of differences from here on. */
const STEP_PERCENT = 5;
const INTERVAL_MS = 5_000;

/** How much a heap of this size may grow, in percent. */
export function growthPercent(usedBytes: number): number {
  const percent = (100 * GROWTH_BYTES_MIN) / usedBytes;
  return Math.max(GROWTH_PERCENT_MIN, Math.floor(percent / STEP_PERCENT) * STEP_PERCENT);
}

/**
 * Whether a collection is to move objects together, so that pages become free. Whatever is moved is moved while everything else stands still, which was half
 * of the longest pauses of a control plane that is told of a hundred thousand endpoints at once; what is not moved leaves holes, which are filled again.
 */
export function compacts(usedBytes: number, heldBytes: number): boolean {
  const wastedBytes = heldBytes - usedBytes;
  return wastedBytes >= WASTE_BYTES_MIN && 100 * wastedBytes >= WASTE_PERCENT_MIN * heldBytes;
}

/**
 * Has V8 let the heap grow by 30 %, or by 48 MB where that is more, and move objects where it pays only. By itself it doubles a heap before it looks for garbage, and keeps what it has: 200 MB
 * for a large gateway. A flag that holds for all sizes would be too much for that one or too little for a small heap.
 */
export function followHeap(): void {
  const told = new Set<string>();
  const tell = () => {
    const { used_heap_size: usedBytes, total_heap_size: heldBytes } = getHeapStatistics();
    // Read by V8 whenever it has looked for garbage, and sets the size for the next time; the other one before it moves anything.
    const flags = [
      `--heap-growing-percent=${growthPercent(usedBytes)}`,
      compacts(usedBytes, heldBytes) ? "--compact" : "--no-compact",
    ];
    for (const flag of flags) if (!told.has(flag)) setFlagsFromString(flag);
    told.clear();
    for (const flag of flags) told.add(flag);
  };
  tell();
  setInterval(tell, INTERVAL_MS).unref();
}
