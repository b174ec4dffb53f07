import { setTimeout as delay } from 'node:timers/promises';

/** Waits for `ms`, or until the signal fires. */
export async function pause(ms: number, signal?: AbortSignal): Promise<void> {
  await delay(ms, undefined, signal ? { signal } : {}).catch(() => undefined);
}

/** A function, because the compiler would narrow `signal.aborted` to false after its first check. */
export function isOver(signal: AbortSignal): boolean {
  return signal.aborted;
}

/** Polls `test`. Returns true when it succeeds, false after the deadline. */
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
