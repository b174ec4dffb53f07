import type { Clock } from '../base/clock.ts';

/** The updater has failed when it does not begin with a request, or does not end a step of its work, for this time. */
const BEGIN_MS = 5 * 60_000;
/** systemd does not see a request that is written while the updater runs: it is written again after this time. */
const REMIND_MS = 30_000;
const STEP_MS = 2 * 3_600_000;

/** Measures for how long the updater shows no progress with the current request. A restart of the agent begins anew. */
export class UpdaterSilence {
  readonly #clock: Clock;
  #sinceMonoMs: number;
  #lastSign: string | null = null;
  #isReminded = false;

  constructor({ clock }: { readonly clock: Clock }) {
    this.#clock = clock;
    this.#sinceMonoMs = clock.monoMs();
  }

  /** Call this before a request is written. */
  reset(): void {
    this.#lastSign = null;
    this.#isReminded = false;
    this.#sinceMonoMs = this.#clock.monoMs();
  }

  /** `sign`: the step that the updater works on; null while it does not work on the request. */
  note(sign: string | null): void {
    if (sign === this.#lastSign) return;
    this.#lastSign = sign;
    this.#sinceMonoMs = this.#clock.monoMs();
  }

  /** True once for each request: when the updater has not begun with it for half a minute. */
  takeReminder(): boolean {
    if (this.#isReminded || this.#lastSign !== null || this.#clock.monoMs() - this.#sinceMonoMs < REMIND_MS)
      return false;
    this.#isReminded = true;
    return true;
  }

  get isTooLong(): boolean {
    const limitMs = this.#lastSign === null ? BEGIN_MS : STEP_MS;
    return this.#clock.monoMs() - this.#sinceMonoMs > limitMs;
  }
}
