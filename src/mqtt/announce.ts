import type { Clock } from '../base/clock.ts';

const MIN_GAP_MS = 1000;

export interface AnnouncerDeps {
  readonly clock: Clock;
  /** Publishes the states and `online` again. */
  readonly publish: () => Promise<void>;
}

/** Repeats the birth on request, at most once a second. Requests during the wait share the next announcement. */
export class Announcer {
  readonly #deps: AnnouncerDeps;
  #lastMonoMs = -Infinity;
  #next: Promise<void> | null = null;

  constructor(deps: AnnouncerDeps) {
    this.#deps = deps;
  }

  /** Resolves when the states, as of this call or later, are published. Rejects as `publish` does. */
  announce(): Promise<void> {
    this.#next ??= this.#publishAfterGap();
    return this.#next;
  }

  async #publishAfterGap(): Promise<void> {
    const { clock, publish } = this.#deps;
    const waitMs = this.#lastMonoMs + MIN_GAP_MS - clock.monoMs();
    // Yield in any case: the caller must assign `#next` before this function resets it.
    await (waitMs > 0 ? clock.sleep(waitMs) : Promise.resolve());
    this.#lastMonoMs = clock.monoMs();
    this.#next = null;
    await publish();
  }
}
