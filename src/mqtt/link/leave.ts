import type { Clock } from '../../base/clock.ts';
import type { Session } from './session.ts';

/** Longest wait for what is on its way, before a connection is ended on purpose. */
const RETIRE_WITHIN_MS = 5000;
const RETIRE_LOOK_MS = 20;

/** True when the broker took what `say` says, within the time. */
export async function heard(say: Promise<void>, clock: Clock, withinMs: number): Promise<boolean> {
  const done = new AbortController();
  const said = say.then(
    () => true,
    () => false,
  );
  const late = clock.sleep(withinMs, done.signal).then(
    () => false,
    () => false,
  );
  const outcome = await Promise.race([said, late]);
  done.abort();
  return outcome;
}

/** Ends a connection when what is on its way has arrived, or after a while. The broker sends the will, which the next birth mends. */
export async function retire(session: Session, reason: string, clock: Clock): Promise<void> {
  const untilMs = clock.monoMs() + RETIRE_WITHIN_MS;
  while (session.pending > 0 && clock.monoMs() < untilMs) await clock.sleep(RETIRE_LOOK_MS);
  session.drop(reason);
}
