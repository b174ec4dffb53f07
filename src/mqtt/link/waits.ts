import type { Clock } from '../../base/clock.ts';
import { Backoff } from '../../base/retry.ts';
import type { Pace } from './broker-choice.ts';
import type { LinkTuning } from './tuning.ts';

/**
 * How long to wait before the next attempt: a series with full jitter for each kind of failure, begun anew after a
 * stable link.
 */
export class LinkWaits {
  readonly #series: Readonly<Record<Exclude<Pace, 'at_once'> | 'contested', Backoff>>;
  readonly #renewalMs: number;
  readonly #random: () => number;

  constructor(tuning: LinkTuning, deps: { readonly clock: Clock; readonly random?: () => number }) {
    const { clock, random = Math.random } = deps;
    const jitter = { clock, random };
    this.#series = {
      usual: new Backoff(tuning.backoff, jitter),
      slowly: new Backoff(tuning.refusedBackoff, jitter),
      pressed: new Backoff(tuning.pressedBackoff, jitter),
      contested: new Backoff(tuning.contestedBackoff, jitter),
    };
    this.#renewalMs = tuning.backoff.minMs;
    this.#random = random;
  }

  connected(): void {
    for (const series of Object.values(this.#series)) series.started();
  }

  nextMs(pace: Pace | 'contested'): number {
    return pace === 'at_once' ? 0 : this.#series[pace].nextMs();
  }

  /** Before a connection that was ended on purpose is made anew. */
  renewalMs(): number {
    return this.#random() * this.#renewalMs;
  }
}
