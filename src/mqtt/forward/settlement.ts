import type { Clock } from '../../base/clock.ts';
import { asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import type { Acknowledgement, Outbox } from '../../store/types.ts';

/** Acknowledged rows that are taken out of the outbox in one transaction. */
const BATCH = 512;
/** Longest time that an acknowledged row stays, unless the disk refuses: as much is sent again after a crash. */
const PATIENCE_MS = 25;
const RETRY_MS = 1000;
/** Acknowledged rows that may wait for the disk; until it takes them nothing more is sent. */
const MAX_WAITING = 4 * BATCH;

export interface SettlementDeps {
  readonly outbox: Outbox;
  readonly clock: Clock;
  readonly log: Log;
  /** Called with the rows that are out of the outbox now. */
  readonly onSettled: (rows: readonly Acknowledgement[]) => void;
}

/** Takes acknowledged rows out of the outbox, many in one transaction. */
export class Settlement {
  readonly #deps: SettlementDeps;
  #rows: Acknowledgement[] = [];
  #scheduled: 'no' | 'soon' | 'at_once' = 'no';
  #failing = false;

  constructor(deps: SettlementDeps) {
    this.#deps = deps;
  }

  /** True when so much waits for the disk that nothing more should be sent. */
  get full(): boolean {
    return this.#rows.length >= MAX_WAITING;
  }

  /** Takes an acknowledged row. `last`: nothing else is under way, so that waiting would gather nothing. */
  add(row: Acknowledgement, last: boolean, signal: AbortSignal): void {
    this.#rows.push(row);
    if (this.#failing) return;
    if (this.#rows.length >= BATCH) this.flush(signal);
    else if (last) this.#atOnce(signal);
    else if (this.#scheduled === 'no') this.#soon(PATIENCE_MS, signal);
  }

  /** Settles all that waits now. A failure is logged, and tried again until the signal fires. */
  flush(signal: AbortSignal): void {
    if (this.#rows.length === 0) return;
    const rows = this.#rows;
    try {
      this.#deps.outbox.acknowledge(rows);
    } catch (thrown) {
      this.#deps.log.error(
        { code: asAgentError(thrown).code, rows: rows.length },
        'acknowledged rows not taken out',
      );
      this.#failing = true;
      this.#soon(RETRY_MS, signal);
      return;
    }
    this.#failing = false;
    this.#rows = [];
    this.#deps.onSettled(rows);
  }

  #atOnce(signal: AbortSignal): void {
    if (this.#scheduled === 'at_once') return;
    this.#scheduled = 'at_once';
    setImmediate(() => {
      this.#scheduled = 'no';
      if (!signal.aborted) this.flush(signal);
    });
  }

  #soon(ms: number, signal: AbortSignal): void {
    if (this.#scheduled === 'no') this.#scheduled = 'soon';
    const settle = (): void => {
      if (this.#scheduled === 'soon') this.#scheduled = 'no';
      this.flush(signal);
    };
    void this.#deps.clock.sleep(ms, signal).then(settle, () => undefined);
  }
}
