import type { Clock } from './clock.ts';

export interface TokenBucketOptions {
  /** Tokens that flow in, per second. 0: no limit. */
  readonly perS: number;
  /** Tokens in a full bucket. */
  readonly burst: number;
}

/**
 * Limits a rate of messages, requests or bytes. The bucket starts full. It may be overdrawn, because the size of a network
 * chunk is known only after it arrived: then the next token is free when the debt is paid back.
 */
export class TokenBucket {
  readonly #msPerToken: number;
  readonly #burst: number;
  readonly #clock: Pick<Clock, 'monoMs'>;
  /** Monotonic time at which the bucket is full again, ms. */
  #fullAtMs = -Infinity;

  constructor(options: TokenBucketOptions, clock: Pick<Clock, 'monoMs'>) {
    this.#msPerToken = options.perS === 0 ? 0 : 1000 / options.perS;
    this.#burst = options.burst;
    this.#clock = clock;
  }

  /** Time until one token is free, ms; 0 when it is free now. */
  waitMs(): number {
    if (this.#msPerToken === 0) return 0;
    const waitMs = this.#fullAtMs - this.#clock.monoMs() - (this.#burst - 1) * this.#msPerToken;
    // Token intervals that are no whole number of milliseconds add up with a rounding error.
    return waitMs > this.#msPerToken / 1000 ? waitMs : 0;
  }

  /** Takes tokens, free or not. */
  take(tokens = 1): void {
    this.#fullAtMs = Math.max(this.#fullAtMs, this.#clock.monoMs()) + tokens * this.#msPerToken;
  }

  /** Takes one token if one is free. */
  tryTake(): boolean {
    if (this.waitMs() > 0) return false;
    this.take();
    return true;
  }

  isFull(): boolean {
    return this.#fullAtMs <= this.#clock.monoMs();
  }
}
