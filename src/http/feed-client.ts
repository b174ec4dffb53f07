import type { ServerResponse } from 'node:http';

/** Unsent bytes of one client. A client with more is disconnected. */
const MAX_WAITING_BYTES = 256 * 1024;
/** Deadline for a client to read one page of missed events. */
const DRAIN_TIMEOUT_MS = 30_000;

/** One open stream of server-sent events. */
export class FeedClient {
  readonly #response: ServerResponse;
  #isClosed = false;

  constructor(response: ServerResponse, onClosed: () => void) {
    this.#response = response;
    response.once('close', () => {
      this.#isClosed = true;
      onClosed();
    });
    // Ignore the error of a client that disconnects during a write.
    response.on('error', () => undefined);
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  write(text: string): void {
    if (this.#isClosed || this.#response.writableEnded) return;
    if (this.#response.writableLength > MAX_WAITING_BYTES) this.drop();
    else this.#response.write(text);
  }

  /** Resolves when the written data is handed to the system. Disconnects a client that reads too slowly. */
  async drained(): Promise<void> {
    if (this.#isClosed || !this.#response.writableNeedDrain) {
      await new Promise((resolve) => setImmediate(resolve));
      return;
    }
    await new Promise<void>((resolve) => {
      const timer = setTimeout(() => this.drop(), DRAIN_TIMEOUT_MS);
      const done = (): void => {
        clearTimeout(timer);
        this.#response.off('drain', done).off('close', done);
        resolve();
      };
      this.#response.once('drain', done).once('close', done);
    });
  }

  /** Ends the response properly; `drop` cuts the connection. */
  end(): void {
    this.#response.end();
  }

  drop(): void {
    this.#response.destroy();
  }
}
