import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { closeQuietly } from '../../base/closing.ts';
import { withAbort } from '../../base/abort.ts';
import { deadlineSignal } from '../../base/deadline.ts';
import {
  BLOCK_HEADER_BYTES,
  BLOCK_REQUEST_TOPIC,
  BLOCK_COMMAND,
  decodeBlockRequest,
  encodeBlock,
} from './block-codec.ts';

export interface BlockSenderOptions {
  /** Payload limit of the broker. The sender shortens blocks that would exceed it. */
  readonly maxPayloadBytes?: number;
  /** The publish of one block fails after this time, ms. */
  readonly sendTimeoutMs?: number;
}

export interface BlockSenderDeps {
  /** Publishes with QoS 1, not retained; resolves when the broker acknowledges. */
  readonly publish: (topic: string, payload: Buffer) => Promise<void>;
  /** The broker acknowledged a block. `sentBytes` is the total number of bytes sent to this device. */
  readonly onSent?: (device: string, sentBytes: number) => void;
  /** The sender could not publish a block. The device will request this block again. */
  readonly onFailed?: (device: string, thrown: unknown) => void;
}

interface ServedDevice {
  /** The update whose blocks the device requests; null before its first request. */
  updateId: string | null;
  /** Requests that were not answered yet: length by offset, in the order of arrival. */
  readonly pending: Map<number, number>;
  /** The loop that sends the pending blocks; null while there are none. */
  sending: Promise<void> | null;
  sentBytes: number;
}

const DEFAULT_SEND_TIMEOUT_MS = 30_000;
/**
 * Maximum number of pending requests of one device. A device requests four blocks at a time, and more when it repeats.
 */
const MAX_PENDING = 16;

/**
 * The operator's side of a model transfer over MQTT: sends the blocks of one file that the served devices request. Pass
 * every message on `{device}model/blocks/request` to `receive`.
 */
export class BlockSender {
  readonly sizeBytes: number;
  /** The hash of the file, as `sha256:…`. */
  readonly digest: string;
  readonly #file: FileHandle;
  readonly #deps: BlockSenderDeps;
  readonly #sendTimeoutMs: number;
  readonly #maxBlockBytes: number;
  readonly #closed = new AbortController();
  readonly #devices = new Map<string, ServedDevice>();

  static async open(
    path: string,
    deps: BlockSenderDeps,
    options: BlockSenderOptions = {},
  ): Promise<BlockSender> {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const hash = createHash('sha256');
      for await (const chunk of file.createReadStream({ autoClose: false })) hash.update(chunk as Buffer);
      return new BlockSender(file, size, `sha256:${hash.digest('hex')}`, deps, options);
    } catch (thrown) {
      await closeQuietly(() => file.close());
      throw thrown;
    }
  }

  private constructor(
    file: FileHandle,
    sizeBytes: number,
    digest: string,
    deps: BlockSenderDeps,
    options: BlockSenderOptions,
  ) {
    this.#file = file;
    this.sizeBytes = sizeBytes;
    this.digest = digest;
    this.#deps = deps;
    this.#sendTimeoutMs = options.sendTimeoutMs ?? DEFAULT_SEND_TIMEOUT_MS;
    this.#maxBlockBytes = Math.max(1, (options.maxPayloadBytes ?? Infinity) - BLOCK_HEADER_BYTES);
  }

  /**
   * Starts to serve a device, named by its topic with a trailing slash (`swellsight/v1/site/device/`). Without
   * `updateId`, the first request of the device sets it. Call this only after the device was asked to install this
   * file.
   */
  serve(device: string, updateId: string | null = null): void {
    const served = this.#devices.get(device);
    if (served) served.updateId = updateId ?? served.updateId;
    else this.#devices.set(device, { updateId, pending: new Map(), sending: null, sentBytes: 0 });
  }

  /** Call it for each message from the broker. Never throws; ignores everything except requests of served devices. */
  receive(topic: string, payload: Uint8Array, retain: boolean): void {
    if (retain || !topic.endsWith(BLOCK_REQUEST_TOPIC)) return;
    const device = topic.slice(0, -BLOCK_REQUEST_TOPIC.length);
    const served = this.#devices.get(device);
    const request = decodeBlockRequest(payload);
    if (!served || !request || request.offset + request.length > this.sizeBytes) return;
    served.updateId ??= request.updateId;
    if (served.updateId !== request.updateId || served.pending.size >= MAX_PENDING) return;
    served.pending.set(request.offset, request.length);
    served.sending ??= this.#sendPending(device, served).finally(() => (served.sending = null));
  }

  /** Aborts current sends and closes the file. */
  async close(): Promise<void> {
    this.#closed.abort();
    const sends = [...this.#devices.values()].flatMap((served) => served.sending ?? []);
    for (const { pending } of this.#devices.values()) pending.clear();
    this.#devices.clear();
    await Promise.all(sends);
    await this.#file.close();
  }

  async #sendPending(device: string, served: ServedDevice): Promise<void> {
    for (;;) {
      const [next] = served.pending;
      if (!next || served.updateId === null) return;
      const [offset, requestedBytes] = next;
      served.pending.delete(offset);
      try {
        const bytes = Buffer.alloc(Math.min(requestedBytes, this.#maxBlockBytes));
        const { bytesRead } = await this.#file.read(bytes, 0, bytes.length, offset);
        if (bytesRead < bytes.length) throw new Error('the file became shorter');
        const { updateId } = served;
        await this.#publish(`${device}cmd/${BLOCK_COMMAND}`, encodeBlock({ updateId, offset, bytes }));
        served.sentBytes += bytes.length;
        this.#deps.onSent?.(device, served.sentBytes);
      } catch (thrown) {
        if (!this.#closed.signal.aborted) this.#deps.onFailed?.(device, thrown);
      }
    }
  }

  /** Publishes with a deadline, because the MQTT client may wait forever for the acknowledgement of a message. */
  async #publish(topic: string, payload: Buffer): Promise<void> {
    const signal = deadlineSignal(this.#sendTimeoutMs, this.#closed.signal);
    signal.throwIfAborted();
    await withAbort(this.#deps.publish(topic, payload), signal);
  }
}
