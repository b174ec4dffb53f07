import type { Clock } from '../../base/clock.ts';

const HOUR_MS = 3_600_000;

/** Counts connections. */
export class ConnectionCount {
  readonly #clock: Clock;
  #total = 0;
  #reconnectsMonoMs: readonly number[] = [];

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  connected(): void {
    if (this.#total > 0) this.#reconnectsMonoMs = [...this.#lastHour(), this.#clock.monoMs()];
    this.#total += 1;
  }

  get total(): number {
    return this.#total;
  }

  get reconnects1h(): number {
    return this.#lastHour().length;
  }

  #lastHour(): number[] {
    const nowMs = this.#clock.monoMs();
    return this.#reconnectsMonoMs.filter((ms) => nowMs - ms < HOUR_MS);
  }
}
