import type { Clock } from '../base/clock.ts';
import { asAgentError } from '../base/errors.ts';

const MAX_WAIT_MS = 5000;
const RETRY_MS = 100;

/** Repeats `work` for up to 5 s while it throws `config_busy`. Throws every other error, and the last `config_busy`. */
export async function whenNotBusy<T>(
  work: () => T,
  { clock }: { readonly clock: Clock },
  signal: AbortSignal,
): Promise<T> {
  const untilMonoMs = clock.monoMs() + MAX_WAIT_MS;
  for (;;) {
    try {
      return work();
    } catch (thrown) {
      if (asAgentError(thrown).code !== 'config_busy' || clock.monoMs() >= untilMonoMs) throw thrown;
    }
    await clock.sleep(RETRY_MS, signal);
  }
}
