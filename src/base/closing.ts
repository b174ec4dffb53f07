/**
 * Closes something at the end of a block, with `await using`. Unlike a `finally` block, a failure of `close` does not hide
 * the failure of the block: that stays the first one, see `firstFailure`.
 */
export const closeAtEnd = (close: () => unknown): AsyncDisposable => ({
  [Symbol.asyncDispose]: async () => {
    await close();
  },
});

/** The failure that came first, when failures of clean-up steps followed it (`SuppressedError`). */
export function firstFailure(thrown: unknown): unknown {
  let first = thrown;
  while (first instanceof SuppressedError) first = first.suppressed;
  return first;
}

/** Closes after a failure, which the caller throws then. A failure of `close` must not hide it. */
export async function closeQuietly(close: () => unknown): Promise<void> {
  try {
    await close();
  } catch {
    // The first failure is the one to report.
  }
}
