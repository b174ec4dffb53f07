import type { Socket } from 'node:net';
import { AgentError } from '../base/errors.ts';

export interface WatchLimits {
  /** Of the whole body, bytes. */
  readonly mostBytes: number;
  readonly tuning: UploadTuning;
}

/** How slow a sender may be. */
export interface UploadTuning {
  /** Without one byte, ms. */
  readonly idleMs: number;
  /** Grace, and then so many bytes a second over the whole time that was spent waiting for bytes. */
  readonly graceMs: number;
  readonly leastBytesPerS: number;
}

export const UPLOAD_TUNING: UploadTuning = { idleMs: 10_000, graceMs: 15_000, leastBytesPerS: 16_000 };

const LOOKS_PER_S = 4;

/** Ends an upload whose sender is too slow or sends too much. Time that the agent takes for itself does not count. */
export class UploadWatch {
  readonly #socket: Socket;
  readonly #limits: WatchLimits;
  readonly #onFault: (fault: AgentError) => void;
  readonly #timer: NodeJS.Timeout;
  readonly #startBytes: number;
  #lastBytes: number;
  #waitedMs = 0;
  #idleMs = 0;
  #waitingSince: number | null = null;

  constructor(socket: Socket, limits: WatchLimits, onFault: (fault: AgentError) => void) {
    this.#socket = socket;
    this.#limits = limits;
    this.#onFault = onFault;
    this.#startBytes = socket.bytesRead;
    this.#lastBytes = socket.bytesRead;
    this.#timer = setInterval(() => this.#look(), 1000 / LOOKS_PER_S);
    this.#timer.unref();
  }

  /** The sender is waited for while this is not settled. */
  async waiting<T>(bytes: Promise<T>): Promise<T> {
    this.#waitingSince = performance.now();
    this.#idleMs = 0;
    try {
      return await bytes;
    } finally {
      this.#count();
      this.#waitingSince = null;
    }
  }

  #count(): void {
    if (this.#waitingSince === null) return;
    const now = performance.now();
    this.#waitedMs += now - this.#waitingSince;
    this.#idleMs += now - this.#waitingSince;
    this.#waitingSince = now;
  }

  #look(): void {
    this.#count();
    const { mostBytes, tuning } = this.#limits;
    const { bytesRead } = this.#socket;
    if (bytesRead !== this.#lastBytes) this.#idleMs = 0;
    this.#lastBytes = bytesRead;
    const receivedBytes = bytesRead - this.#startBytes;
    const allowedMs = tuning.graceMs + (receivedBytes / tuning.leastBytesPerS) * 1000;
    if (receivedBytes > mostBytes)
      this.#fault(new AgentError('request_too_large', 'the form is larger than this path takes'));
    else if (this.#waitingSince !== null && (this.#idleMs > tuning.idleMs || this.#waitedMs > allowedMs))
      this.#fault(new AgentError('request_timeout', 'the form arrives too slowly'));
  }

  #fault(fault: AgentError): void {
    this.stop();
    this.#onFault(fault);
  }

  stop(): void {
    clearInterval(this.#timer);
  }
}
