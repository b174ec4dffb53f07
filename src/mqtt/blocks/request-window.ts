import { BLOCK_WINDOW, MAX_BLOCK_BYTES } from './block-codec.ts';

/** Times and sizes of a transfer in blocks. Tests shorten the times. */
export interface ModelBlocksTuning {
  /** Initial and maximum size of a requested block. */
  readonly maxBlockBytes: number;
  /** Minimum size of a requested block. Sizes shrink while no block arrives: the broker may drop large messages. */
  readonly minBlockBytes: number;
  /** Maximum number of blocks requested at the same time. */
  readonly maxRequests: number;
  /**
   * When no block arrives for this time, blocks are requested again. The time doubles at each repetition, up to
   * `maxReplyTimeoutMs`.
   */
  readonly replyTimeoutMs: number;
  readonly maxReplyTimeoutMs: number;
  /** As `replyTimeoutMs`, but after a reconnect: blocks may have been lost with the old connection. */
  readonly reconnectTimeoutMs: number;
  /** The transfer fails after this time without a new byte. Time without a connection does not count. */
  readonly stallTimeoutMs: number;
  /** The transfer fails after this time in any case. A later install continues where this transfer ended. */
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
 * timeout reduces the size and the number, because its cause is unknown: there may be no sender, the link may be slow,
 * or the broker may drop large messages. When a block size failed and smaller blocks arrived, that size is not tried
 * again.
 */
export class RequestWindow {
  readonly #tuning: ModelBlocksTuning;
  #blockBytes: number;
  /** Upper limit of the block size, after sizes above it failed. */
  #ceilingBytes: number;
  #receivedSinceGrowth = 0;
  /** Size of the largest block that arrived. */
  #largestReceivedBytes = 0;
  /** Number of timeouts since the last block arrived. */
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

  /** Call it for each block. If the block is shorter than requested, its size is the maximum size of the sender. */
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
