import type { Clock } from '../base/clock.ts';
import type { AgentError } from '../base/errors.ts';
import { deadlineSignal } from '../base/deadline.ts';
import type { CaptureOptions, Frame } from './camera.ts';

/**
 * The frames of one burst: the first at once, frame i no earlier than i * intervalS after the first (but for a small
 * tolerance), each within timeoutS of being asked for.
 *
 * @param take gets the monotonic time that the frame may not be older than, and a signal that fires at its deadline
 * @param overdue the failure to throw when that deadline fires
 */
export async function* paced(
  options: CaptureOptions,
  deps: { readonly clock: Clock },
  signal: AbortSignal,
  take: (notBeforeMs: number, signal: AbortSignal) => Promise<Frame>,
  overdue: () => AgentError,
): AsyncGenerator<Frame, void, undefined> {
  const { clock } = deps;
  const intervalMs = options.intervalS * 1000;
  // A source that ticks at the burst's own rate must not lose every second tick to jitter.
  const toleranceMs = Math.min(100, intervalMs / 10);
  let firstMs = clock.monoMs();
  for (let index = 0; index < options.frames; index += 1) {
    signal.throwIfAborted();
    const notBeforeMs = index === 0 ? firstMs : firstMs + index * intervalMs - toleranceMs;
    const waitMs = notBeforeMs - clock.monoMs();
    if (waitMs > 0) await clock.sleep(waitMs, signal);
    const frame = await withDeadline(options.timeoutS, signal, overdue, (limit) => take(notBeforeMs, limit));
    if (index === 0) firstMs = frame.monoMs;
    yield frame;
  }
}

/** Runs `work` under the parent signal and a deadline; only the deadline becomes `overdue`. */
export async function withDeadline<T>(
  timeoutS: number,
  signal: AbortSignal,
  overdue: () => AgentError,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const limit = deadlineSignal(timeoutS * 1000, signal);
  try {
    return await work(limit);
  } catch (failure) {
    signal.throwIfAborted();
    if (limit.aborted) throw overdue();
    throw failure;
  }
}
