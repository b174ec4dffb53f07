import { BLOCK_WINDOW, MAX_BLOCK_BYTES } from './block-codec.ts';

/** Times and sizes of a transfer in blocks. Tests shorten the times. */
export interface ModelBlocksTuning {
  /** Initial and maximum size of a requested block. */
  readonly maxBlockBytes: number;
  /** While no block arrives, requests shrink down to this size: the broker may drop larger messages. */
  readonly minBlockBytes: number;
  /** Maximum number of blocks requested at the same time. */
  readonly maxRequests: number;
  /** Silence after which blocks are requested again; doubles at each repetition, up to `maxReplyTimeoutMs`. */
  readonly replyTimeoutMs: number;
  readonly maxReplyTimeoutMs: number;
  /** The same after a reconnect, because replies may have been lost with the old connection. */
  readonly reconnectTimeoutMs: number;
  /** The transfer fails after this time without a new byte. Time without a link does not count. */
  readonly stallTimeoutMs: number;
  /** The transfer fails after this time in any case. A later install continues where it ended. */
  readonly totalTimeoutMs: number;
}

export const DEFAULT_TUNING: ModelBlocksTuning = {
  maxBlockBytes: MAX_BLOCK_BYTES,
  minBlockBytes: 4096,
  maxRequests: BLOCK_WINDOW,
  replyTimeoutMs: 30_000,
  maxReplyTimeoutMs: 300_000,
  reconnectTimeoutMs: 5000,
  stallTimeoutMs: 3_600_000,
  totalTimeoutMs: 86_400_000,
};

/** The block size doubles after this many received blocks. */
const BLOCKS_TO_GROW = 4;

/**
 * Decides how large requested blocks are, how many are requested at the same time, and how long to wait for them. A
 * timeout reduces both, because its cause is unknown: there may be no sender, the link may be slow, or the broker may drop
 * large messages. A size that failed after smaller blocks arrived is not tried again.
 */
export class RequestWindow {
  readonly #tuning: ModelBlocksTuning;
  #blockBytes: number;
  /** The block size does not grow beyond this. */
  #ceilingBytes: number;
  #receivedSinceGrowth = 0;
  /** Size of the largest block that arrived. */
  #largestReceivedBytes = 0;
  /** Since the last block arrived. */
  #timeouts = 0;

  constructor(tuning: ModelBlocksTuning) {
    this.#tuning = tuning;
    this.#blockBytes = this.#ceilingBytes = tuning.maxBlockBytes;
  }

  get blockBytes(): number {
    return this.#blockBytes;
  }

  get maxRequests(): number {
    return this.#timeouts === 0 ? this.#tuning.maxRequests : 1;
  }

  get replyTimeoutMs(): number {
    const { replyTimeoutMs, maxReplyTimeoutMs } = this.#tuning;
    return Math.min(maxReplyTimeoutMs, replyTimeoutMs * 2 ** Math.min(this.#timeouts, 20));
  }

  /** A block that is shorter than requested has the maximum size of the sender. */
  onBlock(lengthBytes: number, requestedBytes: number): void {
    this.#timeouts = 0;
    this.#largestReceivedBytes = Math.max(this.#largestReceivedBytes, lengthBytes);
    if (lengthBytes < requestedBytes)
      this.#blockBytes = this.#ceilingBytes = Math.max(lengthBytes, this.#tuning.minBlockBytes);
    this.#receivedSinceGrowth += 1;
    if (this.#receivedSinceGrowth < BLOCKS_TO_GROW) return;
    this.#receivedSinceGrowth = 0;
    this.#blockBytes = Math.min(this.#ceilingBytes, this.#blockBytes * 2);
  }

  onTimeout(): void {
    const halfBytes = Math.max(this.#tuning.minBlockBytes, Math.ceil(this.#blockBytes / 2));
    if (this.#largestReceivedBytes > 0 && this.#blockBytes > this.#largestReceivedBytes)
      this.#ceilingBytes = halfBytes;
    this.#receivedSinceGrowth = 0;
    this.#timeouts += 1;
    this.#blockBytes = halfBytes;
  }
}
