import type { Clock } from '../../base/clock.ts';
import type { AgentError } from '../../base/errors.ts';

export interface Limit {
  readonly clock: Clock;
  readonly ms: number;
  readonly signal: AbortSignal;
  /** What is thrown when the time is over. */
  readonly late: () => AgentError;
}

/** Work under a deadline of the monotonic clock; it is told by its signal, and must heed it. */
export async function within<T>(
  { clock, ms, signal, late }: Limit,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const over = new AbortController();
  const done = new AbortController();
  void clock.sleep(ms, done.signal).then(
    () => over.abort(late()),
    () => undefined,
  );
  try {
    return await work(AbortSignal.any([signal, over.signal]));
  } catch (thrown) {
    throw over.signal.aborted && !signal.aborted ? over.signal.reason : thrown;
  } finally {
    done.abort();
  }
}
