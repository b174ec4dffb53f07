import type { ServerResponse } from 'node:http';

/** Bytes that may wait for a client; one that lets more pile up is dropped. */
const MAX_WAITING_BYTES = 256 * 1024;
/** What a client that was away may take for one page. */
const DRAINED_WITHIN_MS = 30_000;

/** One response that is written to for as long as its client stays. */
export class FeedClient {
  readonly #response: ServerResponse;
  #gone = false;

  constructor(response: ServerResponse, onGone: () => void) {
    this.#response = response;
    response.once('close', () => {
      this.#gone = true;
      onGone();
    });
    // A client that goes away while it is written to is no fault.
    response.on('error', () => undefined);
  }

  get gone(): boolean {
    return this.#gone;
  }

  write(text: string): void {
    if (this.#gone || this.#response.writableEnded) return;
    if (this.#response.writableLength > MAX_WAITING_BYTES) this.drop();
    else this.#response.write(text);
  }

  /** When all that was written is on its way; drops a client that takes too long. */
  async drained(): Promise<void> {
    if (this.#gone || !this.#response.writableNeedDrain) {
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    await new Promise<void>((resolve) => {
      const late = setTimeout(() => this.drop(), DRAINED_WITHIN_MS);
      const done = (): void => {
        clearTimeout(late);
        this.#response.off('drain', done).off('close', done);
        resolve();
      };
      this.#response.once('drain', done).once('close', done);
    });
  }

  /** In good order. */
  end(): void {
    this.#response.end();
  }

  drop(): void {
    this.#response.destroy();
  }
}
