export interface DebounceOptions {
  /** A signal counts as on after it was on in every sample for this time. */
  readonly onAfterMs: number;
  /** It counts as off after it was off in every sample for this time. */
  readonly offAfterMs: number;
}

/** Suppresses the chatter of a sampled on/off signal. */
export class Debounced {
  readonly #options: DebounceOptions;
  #isOn = false;
  /** Time of the first of the latest samples that all differ from the state; null when the last sample equals it. */
  #differsSinceMs: number | null = null;

  constructor(options: DebounceOptions) {
    this.#options = options;
  }

  get isOn(): boolean {
    return this.#isOn;
  }

  /** Adds a sample and returns the state. */
  add(isOn: boolean, monoMs: number): boolean {
    if (isOn === this.#isOn) {
      this.#differsSinceMs = null;
      return this.#isOn;
    }
    this.#differsSinceMs ??= monoMs;
    const { onAfterMs, offAfterMs } = this.#options;
    if (monoMs - this.#differsSinceMs >= (isOn ? onAfterMs : offAfterMs)) {
      this.#isOn = isOn;
      this.#differsSinceMs = null;
    }
    return this.#isOn;
  }
}
