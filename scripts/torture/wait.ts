import { setTimeout as delay } from 'node:timers/promises';

/** Waits so long, or less when the signal fires. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, signal ? { signal } : {}).catch(() => undefined);
}

/** Asked anew each time: the compiler takes a flag that it has seen for one that stays. */
export function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** True as soon as the test holds; false when it did not in time. */
export async function until(
  test: () => boolean | Promise<boolean>,
  withinMs: number,
  everyMs = 25,
): Promise<boolean> {
  const endMs = performance.now() + withinMs;
  for (;;) {
    if (await test()) return true;
    if (performance.now() > endMs) return false;
    await delay(everyMs);
  }
}
