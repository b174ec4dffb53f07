/**
 * Waits for all works, also when one of them fails: a part that does not close must not leave the others open. Then rejects
 * with the first failure; later ones follow it in a `SuppressedError`, which `asAgentError` turns into the first one.
 */
export async function settleAll(works: Iterable<unknown>): Promise<void> {
  const failures = (await Promise.allSettled(works)).flatMap((outcome) =>
    outcome.status === 'rejected' ? [outcome.reason as unknown] : [],
  );
  if (failures.length > 0) throw failures.reduce((first, next) => new SuppressedError(next, first));
}
