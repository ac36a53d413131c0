import { getHeapStatistics, setFlagsFromString } from "node:v8";

/** By how much of itself V8's heap grows at least before all of it is looked through for garbage. */
const GROWTH_PERCENT_MIN = 30;
/** And by how many bytes: less would be a look every few changes while a thousand data planes are connected, and each costs as much as two changes. */
const GROWTH_BYTES_MIN = 48 * 1024 * 1024;
/** V8 is told of differences from here on. */
const STEP_PERCENT = 5;
const INTERVAL_MS = 5_000;

/** How much a heap of this size may grow, in percent. */
export function growthPercent(usedBytes: number): number {
  const percent = (100 * GROWTH_BYTES_MIN) / usedBytes;
  return Math.max(GROWTH_PERCENT_MIN, Math.floor(percent / STEP_PERCENT) * STEP_PERCENT);
}

/**
 * Has V8 let the heap grow by 30 %, or by 48 MB where that is more. By itself it doubles a heap before it looks for garbage, and keeps what it has: 200 MB
 * for a large gateway. A flag that holds for all sizes would be too much for that one or too little for a small heap.
 */
export function followHeap(): void {
  let told = 0;
  const tell = () => {
    const percent = growthPercent(getHeapStatistics().used_heap_size);
    if (percent === told) return;
    told = percent;
    // Read by V8 whenever it has looked for garbage, and sets the size for the next time.
    setFlagsFromString(`--heap-growing-percent=${percent}`);
  };
  tell();
  setInterval(tell, INTERVAL_MS).unref();
}
