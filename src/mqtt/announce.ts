import type { Clock } from '../base/clock.ts';

const GAP_MS = 1000;

export interface AnnouncerDeps {
  readonly clock: Clock;
  /** Publishes the states and `online` once more. */
  readonly publish: () => Promise<void>;
}

/** The birth again, on request: at most once a second, and requests that come meanwhile share the next one. */
export class Announcer {
  readonly #deps: AnnouncerDeps;
  #lastMonoMs = -Infinity;
  #next: Promise<void> | null = null;

  constructor(deps: AnnouncerDeps) {
    this.#deps = deps;
  }

  /** Resolves when what was true at the call has been published. Rejects as `publish` does. */
  announce(): Promise<void> {
    this.#next ??= this.#soon();
    return this.#next;
  }

  async #soon(): Promise<void> {
    const { clock, publish } = this.#deps;
    const waitMs = this.#lastMonoMs + GAP_MS - clock.monoMs();
    // Waits in any case, so that it has its place in `#next` before it leaves it.
    await (waitMs > 0 ? clock.sleep(waitMs) : Promise.resolve());
    this.#lastMonoMs = clock.monoMs();
    this.#next = null;
    await publish();
  }
}
