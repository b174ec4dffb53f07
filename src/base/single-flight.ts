/**
 * One run of a piece of work at a time. Whoever asks during a run shares the next one, which begins when that has
 * ended: what was known when asking is in it, however many ask.
 */
export class SingleFlight<T> {
  readonly #work: () => Promise<T>;
  #running: Promise<T> | null = null;
  #next: Promise<T> | null = null;

  constructor(work: () => Promise<T>) {
    this.#work = work;
  }

  /** Settles as the run does that began after this call. */
  run(): Promise<T> {
    if (this.#next) return this.#next;
    if (!this.#running) return this.#begin();
    const ended = this.#running.then(
      () => undefined,
      () => undefined,
    );
    this.#next = ended.then(() => {
      this.#next = null;
      return this.#begin();
    });
    return this.#next;
  }

  #begin(): Promise<T> {
    const run = this.#work().finally(() => {
      this.#running = null;
    });
    this.#running = run;
    return run;
  }
}
