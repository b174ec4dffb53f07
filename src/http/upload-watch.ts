import type { Socket } from 'node:net';
import { AgentError } from '../base/errors.ts';

export interface WatchLimits {
  /** The whole body, bytes. */
  readonly maxBytes: number;
  readonly tuning: UploadTuning;
}

/** How slowly a client may send. */
export interface UploadTuning {
  /** Longest time without a byte, ms. */
  readonly idleMs: number;
  /** Time allowed for receiving: this, plus the time that the bytes take at `minBytesPerS`, ms. */
  readonly graceMs: number;
  readonly minBytesPerS: number;
}

export const UPLOAD_TUNING: UploadTuning = { idleMs: 10_000, graceMs: 15_000, minBytesPerS: 16_000 };

const CHECKS_PER_S = 4;

/** Ends an upload that is too slow or too large. Only time spent on receiving counts, not the agent's own work. */
export class UploadWatch {
  readonly #socket: Socket;
  readonly #limits: WatchLimits;
  readonly #onFault: (fault: AgentError) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #startBytes: number;
  #lastBytes: number;
  #receivingMs = 0;
  #idleMs = 0;
  #receivingSinceMs: number | null = null;

  constructor(socket: Socket, limits: WatchLimits, onFault: (fault: AgentError) => void) {
    this.#socket = socket;
    this.#limits = limits;
    this.#onFault = onFault;
    this.#startBytes = socket.bytesRead;
    this.#lastBytes = socket.bytesRead;
    this.#timer = setInterval(() => this.#check(), 1000 / CHECKS_PER_S);
    this.#timer.unref();
  }

  /** Counts the time until the promise settles as time spent on receiving. */
  async whileReceiving<T>(bytes: Promise<T>): Promise<T> {
    this.#receivingSinceMs = performance.now();
    this.#idleMs = 0;
    try {
      return await bytes;
    } finally {
      this.#addElapsed();
      this.#receivingSinceMs = null;
    }
  }

  #addElapsed(): void {
    if (this.#receivingSinceMs === null) return;
    const nowMs = performance.now();
    this.#receivingMs += nowMs - this.#receivingSinceMs;
    this.#idleMs += nowMs - this.#receivingSinceMs;
    this.#receivingSinceMs = nowMs;
  }

  #check(): void {
    this.#addElapsed();
    const { maxBytes, tuning } = this.#limits;
    const { bytesRead } = this.#socket;
    if (bytesRead !== this.#lastBytes) this.#idleMs = 0;
    this.#lastBytes = bytesRead;
    const receivedBytes = bytesRead - this.#startBytes;
    const allowedMs = tuning.graceMs + (receivedBytes / tuning.minBytesPerS) * 1000;
    const isTooSlow = this.#idleMs > tuning.idleMs || this.#receivingMs > allowedMs;
    if (receivedBytes > maxBytes)
      this.#fail(new AgentError('request_too_large', 'the form is larger than this path takes'));
    else if (this.#receivingSinceMs !== null && isTooSlow)
      this.#fail(new AgentError('request_timeout', 'the form arrives too slowly'));
  }

  #fail(fault: AgentError): void {
    this.stop();
    this.#onFault(fault);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
