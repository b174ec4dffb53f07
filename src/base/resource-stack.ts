import type { Clock } from './clock.ts';

/** What was opened, closed in reverse order; and the one signal that ends every task. */
export class Closers {
  readonly #abort = new AbortController();
  readonly #open: (() => unknown)[] = [];

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  defer(close: () => unknown): void {
    this.#open.push(close);
  }

  abort(): void {
    this.#abort.abort();
  }

  async close(): Promise<void> {
    this.abort();
    for (const close of this.#open.splice(0).reverse()) await close();
  }
}

/** Waits for the work, but no longer than this. */
export async function within(ms: number, clock: Clock, work: Promise<unknown>): Promise<void> {
  const patience = new AbortController();
  await Promise.race([work, clock.sleep(ms, patience.signal)]);
  patience.abort();
}
