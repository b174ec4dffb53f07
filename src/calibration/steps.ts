import { setImmediate as breathe } from 'node:timers/promises';

/** A computation that offers a pause after each small piece of work. */
export type Steps<T> = Generator<undefined, T, undefined>;

/** Runs to the end at once: for the command line and for tests. */
export function runNow<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** Longest stretch without a breath for the event loop, ms. One step more may pass before it is noticed. */
const STRETCH_MS = 5;

/** Runs in stretches of a few milliseconds, so that timers and sockets are served in between. */
export async function runBreathing<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  let sinceMs = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() - sinceMs < STRETCH_MS) continue;
    await breathe();
    signal?.throwIfAborted();
    sinceMs = performance.now();
  }
}
