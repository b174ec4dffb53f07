import { createHash } from 'node:crypto';
import { open, type FileHandle } from 'node:fs/promises';
import { deadlineSignal } from '../../base/deadline.ts';
import {
  BLOCK_HEADER_BYTES,
  BLOCK_REQUEST_TOPIC,
  BLOCK_COMMAND,
  decodeBlockRequest,
  encodeBlock,
} from './model-block.ts';

export interface BlockSenderOptions {
  /** The broker takes no larger payload: shorter blocks than asked for are sent then. */
  readonly maxPayloadBytes?: number;
  /** A block that the broker has not taken after so long is given up. */
  readonly sendMs?: number;
}

export interface BlockSenderDeps {
  /** Sends with QoS 1, not retained; resolves when the broker has it. */
  readonly publish: (topic: string, payload: Buffer) => Promise<void>;
  /** Told of each block that the broker has taken. */
  readonly onSent?: (device: string, sentBytes: number) => void;
  /** Told of a block that did not get out; the device asks for it again. */
  readonly onFailed?: (device: string, thrown: unknown) => void;
}

interface Served {
  /** Null until its first request tells. */
  updateId: string | null;
  /** Offset and length that wait, in the order they were asked for. */
  readonly waiting: Map<number, number>;
  busy: Promise<void> | null;
  sentBytes: number;
}

const SEND_MS = 30_000;
/** A device asks for a window of four; more wait only when it asks again. */
const MAX_WAITING = 16;

/**
 * The operator's side of a model transfer over MQTT: hands out blocks of one file to the devices that it serves, when
 * they ask. Feed it every message on `{device}model/blocks/request`.
 */
export class BlockSender {
  readonly sizeBytes: number;
  /** `sha256:…` of the file. */
  readonly digest: string;
  readonly #file: FileHandle;
  readonly #deps: BlockSenderDeps;
  readonly #sendMs: number;
  readonly #mostBytes: number;
  readonly #closed = new AbortController();
  readonly #devices = new Map<string, Served>();

  static async open(
    path: string,
    deps: BlockSenderDeps,
    options: BlockSenderOptions = {},
  ): Promise<BlockSender> {
    const file = await open(path, 'r');
    try {
      const { size } = await file.stat();
      const hash = createHash('sha256');
      const buffer = Buffer.alloc(256 * 1024);
      for (let at = 0; at < size;) {
        const { bytesRead } = await file.read(buffer, 0, buffer.length, at);
        if (bytesRead === 0) break;
        hash.update(buffer.subarray(0, bytesRead));
        at += bytesRead;
      }
      return new BlockSender(file, size, `sha256:${hash.digest('hex')}`, deps, options);
    } catch (thrown) {
      await file.close();
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
    this.#sendMs = options.sendMs ?? SEND_MS;
    this.#mostBytes = Math.max(1, (options.maxPayloadBytes ?? Infinity) - BLOCK_HEADER_BYTES);
  }

  /**
   * Serves a device, named by its topic with the slash at the end (`swellsight/v1/site/device/`), from now on. Without an
   * id it is the update of its first request: serve it only when it is asked to install this file.
   */
  serve(device: string, updateId: string | null = null): void {
    const served = this.#devices.get(device);
    if (served) served.updateId = updateId ?? served.updateId;
    else this.#devices.set(device, { updateId, waiting: new Map(), busy: null, sentBytes: 0 });
  }

  /** Serves it no longer. */
  forget(device: string): void {
    this.#devices.get(device)?.waiting.clear();
    this.#devices.delete(device);
  }

  /** One message of any topic. Never throws; what is no request to be served is passed over. */
  receive(topic: string, payload: Uint8Array, retain: boolean): void {
    if (retain || !topic.endsWith(BLOCK_REQUEST_TOPIC)) return;
    const device = topic.slice(0, -BLOCK_REQUEST_TOPIC.length);
    const served = this.#devices.get(device);
    const request = decodeBlockRequest(payload);
    if (!served || !request || request.offset + request.length > this.sizeBytes) return;
    served.updateId ??= request.updateId;
    if (served.updateId !== request.updateId || served.waiting.size >= MAX_WAITING) return;
    served.waiting.set(request.offset, request.length);
    served.busy ??= this.#work(device, served).finally(() => (served.busy = null));
  }

  /** Gives up what is under way. */
  async close(): Promise<void> {
    this.#closed.abort();
    const busy = [...this.#devices.values()].flatMap((served) => served.busy ?? []);
    for (const device of [...this.#devices.keys()]) this.forget(device);
    await Promise.all(busy);
    await this.#file.close();
  }

  async #work(device: string, served: Served): Promise<void> {
    for (;;) {
      const [next] = served.waiting;
      if (!next || served.updateId === null) return;
      const [offset, wanted] = next;
      served.waiting.delete(offset);
      try {
        const bytes = Buffer.alloc(Math.min(wanted, this.#mostBytes));
        const { bytesRead } = await this.#file.read(bytes, 0, bytes.length, offset);
        if (bytesRead < bytes.length) throw new Error('the file has become shorter');
        const { updateId } = served;
        await this.#send(`${device}cmd/${BLOCK_COMMAND}`, encodeBlock({ updateId, offset, bytes }));
        served.sentBytes += bytes.length;
        this.#deps.onSent?.(device, served.sentBytes);
      } catch (thrown) {
        if (!this.#closed.signal.aborted) this.#deps.onFailed?.(device, thrown);
      }
    }
  }

  /** A client may keep a message for ever that its broker does not take. */
  async #send(topic: string, payload: Buffer): Promise<void> {
    const signal = deadlineSignal(this.#sendMs, this.#closed.signal);
    signal.throwIfAborted();
    let onAbort = (): void => undefined;
    const late = new Promise<never>((_resolve, reject) => {
      onAbort = () => reject(signal.reason as Error);
      signal.addEventListener('abort', onAbort, { once: true });
    });
    try {
      await Promise.race([this.#deps.publish(topic, payload), late]);
    } finally {
      signal.removeEventListener('abort', onAbort);
    }
  }
}
