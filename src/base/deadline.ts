import type { Clock } from './clock.ts';
import type { AgentError } from './errors.ts';

/** A signal that fires when the parent does or after `ms`, whichever is first. */
export function deadlineSignal(ms: number, parent?: AbortSignal): AbortSignal {
  const timer = AbortSignal.timeout(ms);
  return parent ? AbortSignal.any([parent, timer]) : timer;
}

export interface Deadline {
  readonly clock: Clock;
  readonly ms: number;
  readonly signal: AbortSignal;
  /** Makes the error that is thrown when the time is over. */
  readonly onTimeout: () => AgentError;
}

/**
 * Runs work under a parent signal and a deadline on the monotonic clock. The work must obey the signal that it gets.
 * Rejects with the parent's reason when the parent fires, and with `onTimeout()` when the deadline passes; its cause is what
 * the work threw then, if it knew more, such as the failure before a retry.
 */
export async function withDeadline<T>(
  { clock, ms, signal, onTimeout }: Deadline,
  work: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const timeout = new AbortController();
  const done = new AbortController();
  void clock.sleep(ms, done.signal).then(
    () => timeout.abort(onTimeout()),
    () => undefined,
  );
  try {
    return await work(AbortSignal.any([signal, timeout.signal]));
  } catch (thrown) {
    if (!timeout.signal.aborted || signal.aborted) throw thrown;
    const overdue = timeout.signal.reason as AgentError;
    // An aborted wait rejects with an error whose cause is the reason of the signal: no news, and a circle of causes.
    const isOwnAbort = thrown === overdue || (thrown instanceof Error && thrown.cause === overdue);
    if (!isOwnAbort) overdue.cause ??= thrown;
    throw overdue;
  } finally {
    done.abort();
  }
}

/** Waits until the work settles or `ms` have passed. Rejects if the work rejects in that time. */
export async function settleWithin(ms: number, clock: Clock, work: Promise<unknown>): Promise<void> {
  const done = new AbortController();
  try {
    await Promise.race([work, clock.sleep(ms, done.signal)]);
  } finally {
    done.abort();
  }
}
