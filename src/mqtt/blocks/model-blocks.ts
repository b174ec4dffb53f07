import type { Clock } from '../../base/clock.ts';
import { AgentError, asAgentError } from '../../base/errors.ts';
import type { Log } from '../../base/log.ts';
import { TokenBucket } from '../../base/token-bucket.ts';
import type { BlockSink, BlockSource, WantedBlocks } from '../../model/types.ts';
import type { CommandPacket, Link } from '../types.ts';
import { BLOCK_REQUEST_TOPIC, decodeBlock, encodeBlockRequest, type Block } from './block-codec.ts';
import { DEFAULT_TUNING, RequestWindow, type ModelBlocksTuning } from './request-window.ts';

export interface ModelBlocksDeps {
  readonly link: Pick<Link, 'connected' | 'publish'>;
  readonly clock: Clock;
  readonly log: Log;
}

/** How many received blocks the device ignored, by reason. */
export interface IgnoredBlocks {
  readonly retained: number;
  /** The payload is not a valid block, or is too long. */
  readonly malformed: number;
  /** The block belongs to an update that has no running transfer. */
  readonly unknownUpdate: number;
  /** The block was not requested, is longer than requested, or was received before. */
  readonly unrequested: number;
}

/**
 * The device's side of a model transfer over MQTT. Blocks do not count toward the rate of commands, because only
 * requested blocks are accepted, and the number of requests is limited.
 */
export class ModelBlocks implements BlockSource {
  readonly #tuning: ModelBlocksTuning;
  readonly #deps: ModelBlocksDeps;
  readonly #transfers = new Map<string, BlockTransfer>();
  #ignored: IgnoredBlocks = { retained: 0, malformed: 0, unknownUpdate: 0, unrequested: 0 };

  constructor(tuning: Partial<ModelBlocksTuning>, deps: ModelBlocksDeps) {
    this.#tuning = { ...DEFAULT_TUNING, ...tuning };
    this.#deps = deps;
  }

  async fetch(wanted: WantedBlocks, sink: BlockSink, signal: AbortSignal): Promise<void> {
    const { updateId } = wanted;
    if (this.#transfers.has(updateId))
      throw new AgentError('internal', 'a transfer of this update is already running');
    const transfer = new BlockTransfer(wanted, sink, this.#tuning, this.#deps);
    const ignoredBefore = this.#ignored;
    this.#transfers.set(updateId, transfer);
    try {
      await transfer.run(signal);
    } finally {
      this.#transfers.delete(updateId);
      if (ignoredBefore !== this.#ignored)
        this.#deps.log.info({ ignored: this.#ignored }, 'ignored unexpected blocks of a model file');
    }
  }

  /** Call it for each message on `cmd/model.block`. Never throws, sends no answer. */
  receive({ payload, retain }: CommandPacket): void {
    if (retain) {
      this.#ignore('retained');
      return;
    }
    const block = decodeBlock(payload);
    const transfer = block ? this.#transfers.get(block.updateId) : undefined;
    if (block === null) this.#ignore('malformed');
    else if (transfer === undefined) this.#ignore('unknownUpdate');
    else if (!transfer.receive(block)) this.#ignore('unrequested');
  }

  /** Call it at each new connection to the broker. */
  linkUp(): void {
    for (const transfer of this.#transfers.values()) transfer.linkUp();
  }

  get ignored(): IgnoredBlocks {
    return this.#ignored;
  }

  #ignore(reason: keyof IgnoredBlocks): void {
    this.#ignored = { ...this.#ignored, [reason]: this.#ignored[reason] + 1 };
  }
}

/** How often the state of the link and of the requests is checked. */
const CHECK_INTERVAL_MS = 1000;

/**
 * Transfers one file: requests blocks and appends them to the sink in order. Keeps blocks that arrive out of order in
 * memory: at most twice as many as the maximum number of requests.
 */
class BlockTransfer {
  readonly #updateId: string;
  readonly #sink: BlockSink;
  readonly #tuning: ModelBlocksTuning;
  readonly #deps: Pick<ModelBlocksDeps, 'link' | 'clock'>;
  readonly #window: RequestWindow;
  readonly #bandwidth: TokenBucket;
  /** Current requests: length by offset. */
  readonly #requested = new Map<number, number>();
  /** Timed-out requests, whose blocks may still arrive: length by offset. */
  readonly #overdue = new Map<number, number>();
  /** Received blocks that were not appended to the sink yet, by offset. */
  readonly #received = new Map<number, Uint8Array>();
  #wake: () => void = () => undefined;
  /** Monotonic time since which no requested block has arrived. */
  #silentSinceMs = 0;
  /** Monotonic time of the last reconnect; null again after the next block or timeout. */
  #reconnectedMs: number | null = null;
  #refusal: AgentError | null = null;

  constructor(
    wanted: WantedBlocks,
    sink: BlockSink,
    tuning: ModelBlocksTuning,
    deps: Pick<ModelBlocksDeps, 'link' | 'clock'>,
  ) {
    this.#updateId = wanted.updateId;
    this.#bandwidth = new TokenBucket({ perS: wanted.maxBytesPerS, burst: 1 }, deps.clock);
    this.#sink = sink;
    this.#tuning = tuning;
    this.#deps = deps;
    this.#window = new RequestWindow(tuning);
  }

  /** Keeps a block that was requested, even if it is shorter than requested. Returns false for any other block. */
  receive({ offset, bytes }: Block): boolean {
    const requestedBytes = Math.max(this.#requested.get(offset) ?? 0, this.#overdue.get(offset) ?? 0);
    if (bytes.length > requestedBytes || this.#received.has(offset)) return false;
    this.#requested.delete(offset);
    this.#overdue.delete(offset);
    // Copy the bytes: they are a view of the socket's buffer, which may be much larger.
    this.#received.set(offset, Uint8Array.from(bytes));
    this.#window.onBlock(bytes.length, requestedBytes);
    this.#silentSinceMs = this.#deps.clock.monoMs();
    this.#reconnectedMs = null;
    this.#wake();
    return true;
  }

  /** Starts a shorter timeout: blocks that were requested on the old connection may never arrive. */
  linkUp(): void {
    this.#reconnectedMs = this.#deps.clock.monoMs();
    this.#wake();
  }

  /**
   * Resolves when the sink has the whole file. Throws `model_transfer_failed`, the errors of the sink, and the signal's
   * reason.
   */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, link } = this.#deps;
    const { stallTimeoutMs, totalTimeoutMs } = this.#tuning;
    const startedMs = clock.monoMs();
    let progressMs = (this.#silentSinceMs = startedMs);
    for (;;) {
      signal.throwIfAborted();
      if (await this.#appendReceived()) progressMs = clock.monoMs();
      if (this.#sink.heldBytes >= this.#sink.sizeBytes) return;
      if (this.#refusal !== null) throw this.#refusal;
      const nowMs = clock.monoMs();
      if (!link.connected) progressMs = nowMs;
      if (nowMs - progressMs > stallTimeoutMs)
        throw transferFailed('no requested block arrived within the timeout');
      if (nowMs - startedMs > totalTimeoutMs)
        throw transferFailed('the transfer took longer than its total timeout');
      this.#expireRequests(nowMs);
      await this.#waitUntilWoken(this.#requestBlocks(), signal);
    }
  }

  /** Appends received blocks to the sink while the next one is there. Returns true when it appended at least one. */
  async #appendReceived(): Promise<boolean> {
    const before = this.#sink.heldBytes;
    for (let found = true; found;) {
      found = false;
      for (const [offset, bytes] of this.#received) {
        const held = this.#sink.heldBytes;
        if (offset > held) continue;
        this.#received.delete(offset);
        // A late block may overlap smaller blocks that were requested instead of it.
        if (offset + bytes.length <= held) continue;
        await this.#sink.append(bytes.subarray(held - offset));
        found = true;
      }
    }
    for (const requests of [this.#requested, this.#overdue])
      for (const [offset, length] of requests)
        if (offset + length <= this.#sink.heldBytes) requests.delete(offset);
    return this.#sink.heldBytes > before;
  }

  /** After a timeout, moves the current requests to `#overdue`, so that their blocks are requested again. */
  #expireRequests(nowMs: number): void {
    if (!this.#deps.link.connected) {
      this.#silentSinceMs = nowMs;
      return;
    }
    if (this.#requested.size === 0) return;
    if (this.#reconnectedMs !== null) {
      const sinceMs = Math.max(this.#reconnectedMs, this.#silentSinceMs);
      if (nowMs - sinceMs < this.#tuning.reconnectTimeoutMs) return;
      this.#reconnectedMs = null;
    } else {
      if (nowMs - this.#silentSinceMs < this.#window.replyTimeoutMs) return;
      this.#window.onTimeout();
    }
    this.#silentSinceMs = nowMs;
    this.#overdue.clear();
    for (const [offset, length] of this.#requested) this.#overdue.set(offset, length);
    this.#requested.clear();
  }

  /**
   * Requests the first missing blocks, within the limits on requests and bandwidth. Returns the time to the next try,
   * ms.
   */
  #requestBlocks(): number {
    const { link } = this.#deps;
    if (!link.connected) return CHECK_INTERVAL_MS;
    for (let offset = this.#sink.heldBytes; offset < this.#sink.sizeBytes;) {
      const knownBytes = this.#requested.get(offset) ?? this.#received.get(offset)?.length;
      if (knownBytes !== undefined) {
        offset += knownBytes;
        continue;
      }
      if (this.#requested.size + this.#received.size >= this.#window.maxRequests) break;
      const waitMs = this.#bandwidth.waitMs();
      if (waitMs > 0) return waitMs;
      const length = Math.min(this.#window.blockBytes, this.#endOfGap(offset) - offset);
      this.#request(offset, length);
      offset += length;
    }
    return CHECK_INTERVAL_MS;
  }

  /** The offset of the first requested or received block after `offset`, or the end of the file. */
  #endOfGap(offset: number): number {
    const next = [...this.#requested.keys(), ...this.#received.keys()].filter((other) => other > offset);
    return Math.min(this.#sink.sizeBytes, ...next);
  }

  #request(offset: number, length: number): void {
    // With no request before this one, the wait for a block starts now.
    if (this.#requested.size === 0) this.#silentSinceMs = this.#deps.clock.monoMs();
    this.#requested.set(offset, length);
    this.#bandwidth.take(length);
    const request = encodeBlockRequest({ updateId: this.#updateId, offset, length });
    this.#deps.link
      .publish(BLOCK_REQUEST_TOPIC, request, { qos: 1, retain: false })
      .catch((thrown: unknown) => {
        if (asAgentError(thrown).code === 'mqtt_publish_refused') {
          this.#refusal = transferFailed(
            'the broker refused a request for a block of the model file',
            thrown,
          );
          this.#wake();
        }
        // Nobody knows whether the request was delivered. Request the block again, and accept it also when it arrives
        // late.
        if (this.#requested.get(offset) !== length) return;
        this.#requested.delete(offset);
        this.#overdue.set(offset, length);
      });
  }

  async #waitUntilWoken(timeoutMs: number, signal: AbortSignal): Promise<void> {
    if (this.#received.has(this.#sink.heldBytes)) return;
    const done = new AbortController();
    const woken = new Promise<void>((resolve) => (this.#wake = resolve));
    const timeout = this.#deps.clock.sleep(timeoutMs, AbortSignal.any([signal, done.signal]));
    await Promise.race([woken, timeout.catch(() => undefined)]);
    done.abort();
  }
}

const transferFailed = (reason: string, cause?: unknown): AgentError =>
  new AgentError('model_transfer_failed', reason, { cause });
