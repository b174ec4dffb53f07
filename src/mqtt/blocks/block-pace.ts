import type { ModelBlocksTuning } from './model-block-tuning.ts';

/** Smaller steps upwards come after so many good blocks. */
const BLOCKS_TO_GROW = 4;

/**
 * How large a block is asked for, and how many at a time. Silence makes both smaller, for nobody tells why nothing comes:
 * no one may be there, the link may be slow, the broker may drop what is large. A size that proves too large after
 * smaller ones came is not tried again.
 */
export class BlockPace {
  readonly #tuning: ModelBlocksTuning;
  #blockBytes: number;
  #ceilingBytes: number;
  #good = 0;
  /** Largest size that ever came. */
  #provedBytes = 0;
  #silences = 0;

  constructor(tuning: ModelBlocksTuning) {
    this.#tuning = tuning;
    this.#blockBytes = this.#ceilingBytes = tuning.blockBytes;
  }

  get blockBytes(): number {
    return this.#blockBytes;
  }

  get window(): number {
    return this.#silences === 0 ? this.#tuning.window : 1;
  }

  /** How long silence may last now, ms. */
  get answerMs(): number {
    const { answerMs, longestAnswerMs } = this.#tuning;
    return Math.min(longestAnswerMs, answerMs * 2 ** Math.min(this.#silences, 20));
  }

  /** A shorter one than was asked for is as long as the sender can have it. */
  came(lengthBytes: number, wantedBytes: number): void {
    this.#silences = 0;
    this.#provedBytes = Math.max(this.#provedBytes, lengthBytes);
    if (lengthBytes < wantedBytes)
      this.#blockBytes = this.#ceilingBytes = Math.max(lengthBytes, this.#tuning.leastBlockBytes);
    this.#good += 1;
    if (this.#good < BLOCKS_TO_GROW) return;
    this.#good = 0;
    this.#blockBytes = Math.min(this.#ceilingBytes, this.#blockBytes * 2);
  }

  silent(): void {
    const { leastBlockBytes } = this.#tuning;
    if (this.#provedBytes > 0 && this.#blockBytes > this.#provedBytes)
      this.#ceilingBytes = Math.max(leastBlockBytes, Math.ceil(this.#blockBytes / 2));
    this.#good = 0;
    this.#silences += 1;
    this.#blockBytes = Math.max(leastBlockBytes, Math.ceil(this.#blockBytes / 2));
  }
}
