/** What a camera is doing right now, so that `close` can end it and wait until nothing of it is left. */
export class WorkInHand {
  readonly #closing = new AbortController();
  readonly #running = new Set<Promise<unknown>>();

  /** The given signal, or the closing of the camera, whichever fires first. */
  until(signal: AbortSignal): AbortSignal {
    return AbortSignal.any([signal, this.#closing.signal]);
  }

  /** Remembers the work until it settles. */
  async track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  /** Aborts all work and waits for its end. Idempotent; work begun afterwards is aborted from its start. */
  async close(): Promise<void> {
    this.#closing.abort();
    await Promise.allSettled(this.#running);
  }
}
