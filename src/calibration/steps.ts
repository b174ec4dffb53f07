import { setImmediate as yieldToEventLoop } from 'node:timers/promises';

/** A computation that yields after each small piece of work. */
export type Steps<T> = Generator<undefined, T, undefined>;

/** Runs all steps without a pause: for the command line and for tests. */
export function runNow<T>(steps: Steps<T>): T {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
  }
}

/** After this time the computation pauses for the event loop, ms. The running step is finished first. */
const MAX_SLICE_MS = 5;

/** Runs the steps in slices of a few milliseconds, so that the event loop serves timers and sockets in between. */
export async function runInSlices<T>(steps: Steps<T>, signal?: AbortSignal): Promise<T> {
  let sliceStartedMs = performance.now();
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    if (performance.now() - sliceStartedMs < MAX_SLICE_MS) continue;
    await yieldToEventLoop();
    signal?.throwIfAborted();
    sliceStartedMs = performance.now();
  }
}
