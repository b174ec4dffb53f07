import type { Clock } from '../base/clock.ts';
import { asAgentError } from '../base/errors.ts';
import type { Log } from '../base/log.ts';
import type { Store } from './store.ts';

const INTERVAL_MS = 60_000;
/** Pause between two batches of deletions. During this pause, new records can be stored. */
const BATCH_PAUSE_MS = 50;

/** Deletes expired records every minute, in small batches. Rejects when the signal aborts. */
export async function pruneRegularly(
  store: Pick<Store, 'prune'>,
  { clock, log }: { readonly clock: Clock; readonly log: Log },
  signal: AbortSignal,
): Promise<never> {
  for (;;) {
    await clock.sleep(INTERVAL_MS, signal);
    try {
      while (store.prune().more) await clock.sleep(BATCH_PAUSE_MS, signal);
    } catch (thrown) {
      signal.throwIfAborted();
      log.error({ err: asAgentError(thrown) }, 'retention failed');
    }
  }
}
