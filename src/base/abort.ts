import { addAbortListener, once } from 'node:events';

/** Settles as `work` does, or rejects with the signal's reason when the signal fires first. */
export async function withAbort<T>(work: T, signal: AbortSignal): Promise<Awaited<T>> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  using _listener = addAbortListener(signal, () => reject(signal.reason));
  return await Promise.race([work, aborted]);
}

/** Resolves when the signal fires. */
export async function untilAborted(signal: AbortSignal): Promise<void> {
  if (!signal.aborted) await once(signal, 'abort');
}
