import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { BlockSink, WantedBlocks } from '../../model/types.ts';
import { TokenBucket } from '../../base/token-bucket.ts';
import { BlockPace } from './block-pace.ts';
import { BLOCK_REQUEST_TOPIC, encodeBlockRequest, type Block } from './model-block.ts';
import type { ModelBlocksTuning } from './model-block-tuning.ts';
import type { Link } from '../types.ts';

export interface BlockTransferDeps {
  readonly link: Pick<Link, 'connected' | 'publish'>;
  readonly clock: Clock;
}

/** A link that is down is looked at so often. */
const LOOK_EVERY_MS = 1000;

/**
 * One file that comes in blocks. The device asks, and the bytes go into the sink in order; what comes out of order waits
 * in memory, at most two windows of blocks.
 */
export class BlockTransfer {
  readonly #updateId: string;
  readonly #sink: BlockSink;
  readonly #tuning: ModelBlocksTuning;
  readonly #deps: BlockTransferDeps;
  readonly #pace: BlockPace;
  readonly #bandwidth: TokenBucket;
  /** Length by offset: asked for, and not come. */
  readonly #asked = new Map<number, number>();
  /** Asked for so long ago that it was asked for again: may still come. */
  readonly #late = new Map<number, number>();
  /** Come, and not yet at the end of what the sink has. */
  readonly #ahead = new Map<number, Uint8Array>();
  #wake: () => void = () => undefined;
  /** Silence is counted from here. */
  #heardMs = 0;
  #linkMs: number | null = null;
  #refused: AgentError | null = null;

  constructor(wanted: WantedBlocks, sink: BlockSink, tuning: ModelBlocksTuning, deps: BlockTransferDeps) {
    this.#updateId = wanted.updateId;
    this.#bandwidth = new TokenBucket({ perS: wanted.maxBytesPerS, burst: 1 }, deps.clock);
    this.#sink = sink;
    this.#tuning = tuning;
    this.#deps = deps;
    this.#pace = new BlockPace(tuning);
  }

  /** Takes a block if it was asked for, or the beginning of one; tells whether it was. */
  take({ offset, bytes }: Block): boolean {
    const wantedBytes = Math.max(this.#asked.get(offset) ?? 0, this.#late.get(offset) ?? 0);
    if (bytes.length > wantedBytes || this.#ahead.has(offset)) return false;
    this.#asked.delete(offset);
    this.#late.delete(offset);
    // It is a window into what the socket read, which may be much larger.
    this.#ahead.set(offset, Uint8Array.from(bytes));
    this.#pace.came(bytes.length, wantedBytes);
    this.#heardMs = this.#deps.clock.monoMs();
    this.#linkMs = null;
    this.#wake();
    return true;
  }

  /** There is a new connection: what was asked for on the old one may never come. */
  linkUp(): void {
    this.#linkMs = this.#deps.clock.monoMs();
    this.#wake();
  }

  /** Until the sink has all. Throws `model_transfer_failed`, what the sink throws, and the signal's reason. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock } = this.#deps;
    const { patienceMs, overallMs } = this.#tuning;
    const startedMs = clock.monoMs();
    let gainedMs = (this.#heardMs = startedMs);
    for (;;) {
      signal.throwIfAborted();
      if (await this.#drain()) gainedMs = clock.monoMs();
      if (this.#sink.heldBytes >= this.#sink.sizeBytes) return;
      if (this.#refused !== null) throw this.#refused;
      const nowMs = clock.monoMs();
      // A broken link tries the patience of nobody: it comes back.
      if (!this.#deps.link.connected) gainedMs = nowMs;
      if (nowMs - gainedMs > patienceMs) throw givenUp('nobody sends the blocks that were asked for');
      if (nowMs - startedMs > overallMs) throw givenUp('the transfer takes too long');
      this.#look(nowMs);
      await this.#pause(this.#ask(), signal);
    }
  }

  /** Into the sink what follows on what it has. True when there was some. */
  async #drain(): Promise<boolean> {
    const before = this.#sink.heldBytes;
    for (let found = true; found;) {
      found = false;
      for (const [offset, bytes] of this.#ahead) {
        const held = this.#sink.heldBytes;
        if (offset > held) continue;
        this.#ahead.delete(offset);
        // A late block may overlap with smaller ones that were asked for in its place.
        if (offset + bytes.length <= held) continue;
        await this.#sink.append(bytes.subarray(held - offset));
        found = true;
      }
    }
    for (const map of [this.#asked, this.#late])
      for (const [offset, length] of map) if (offset + length <= this.#sink.heldBytes) map.delete(offset);
    return this.#sink.heldBytes > before;
  }

  /** Gives up waiting for what does not come. */
  #look(nowMs: number): void {
    if (!this.#deps.link.connected) {
      this.#heardMs = nowMs;
      return;
    }
    if (this.#asked.size === 0) return;
    if (this.#linkMs !== null) {
      if (nowMs - Math.max(this.#linkMs, this.#heardMs) < this.#tuning.afterLinkMs) return;
      this.#linkMs = null;
    } else {
      if (nowMs - this.#heardMs < this.#pace.answerMs) return;
      this.#pace.silent();
    }
    this.#heardMs = nowMs;
    this.#late.clear();
    for (const [offset, length] of this.#asked) this.#late.set(offset, length);
    this.#asked.clear();
  }

  /** Asks for what is missing, from the end of what is there on, as far as the window goes. Returns how long to wait then. */
  #ask(): number {
    const { link } = this.#deps;
    if (!link.connected) return LOOK_EVERY_MS;
    for (let offset = this.#sink.heldBytes; offset < this.#sink.sizeBytes;) {
      const known = this.#asked.get(offset) ?? this.#ahead.get(offset)?.length;
      if (known !== undefined) {
        offset += known;
        continue;
      }
      if (this.#asked.size + this.#ahead.size >= this.#pace.window) break;
      const waitMs = this.#bandwidth.waitMs();
      if (waitMs > 0) return waitMs;
      const length = Math.min(this.#pace.blockBytes, this.#next(offset) - offset);
      this.#request(offset, length);
      offset += length;
    }
    return LOOK_EVERY_MS;
  }

  /** Where the next thing begins that is asked for or there. */
  #next(offset: number): number {
    const after = [...this.#asked.keys(), ...this.#ahead.keys()].filter((other) => other > offset);
    return Math.min(this.#sink.sizeBytes, ...after);
  }

  #request(offset: number, length: number): void {
    // The first one after a quiet time begins the wait.
    if (this.#asked.size === 0) this.#heardMs = this.#deps.clock.monoMs();
    this.#asked.set(offset, length);
    this.#bandwidth.take(length);
    const request = encodeBlockRequest({ updateId: this.#updateId, offset, length });
    this.#deps.link
      .publish(BLOCK_REQUEST_TOPIC, request, { qos: 1, retain: false })
      .catch((thrown: unknown) => {
        const { code } = asAgentError(thrown);
        if (code === 'mqtt_publish_refused') {
          this.#refused = new AgentError(
            'model_transfer_failed',
            'the broker refuses to be asked for blocks',
            {
              cause: thrown,
            },
          );
          this.#wake();
        }
        // It did not get out, or nobody knows: asked for again when the link is there.
        if (this.#asked.get(offset) !== length) return;
        this.#asked.delete(offset);
        this.#late.set(offset, length);
      });
  }

  async #pause(ms: number, signal: AbortSignal): Promise<void> {
    if (this.#ahead.has(this.#sink.heldBytes)) return;
    const over = new AbortController();
    const woken = new Promise<void>((resolve) => (this.#wake = resolve));
    const slept = this.#deps.clock.sleep(ms, AbortSignal.any([signal, over.signal])).catch(() => undefined);
    await Promise.race([woken, slept]);
    over.abort();
  }
}

const givenUp = (why: string): AgentError => new AgentError('model_transfer_failed', `given up: ${why}`);
