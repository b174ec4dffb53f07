import type { Clock } from '../../base/clock.ts';
import { AgentError } from '../../base/errors.ts';
import { InFlight } from '../../base/in-flight.ts';

interface WaitingSender {
  readonly resolve: () => void;
  readonly reject: (reason: Error) => void;
}

/**
 * Limits the number of unacknowledged messages of one connection to `size`. Bulk (low-priority) messages are sent
 * only while no urgent message waits. Messages of the same kind keep their order.
 */
export class SendWindow {
  readonly #size: number;
  #used = 0;
  /** Number of waiting senders that got a place but have not continued yet. A later sender must not overtake them. */
  #assigned = 0;
  readonly #urgent: WaitingSender[] = [];
  readonly #bulk: WaitingSender[] = [];
  #closed: { readonly reason: Error } | null = null;

  constructor(size: number) {
    this.#size = size;
  }

  /** Returns true when a message may be sent at once. The caller must call `release` after the acknowledgement. */
  tryEnter(): boolean {
    if (this.#closed || this.#assigned > 0 || this.#used >= this.#size) return false;
    this.#used += 1;
    return true;
  }

  /**
   * Resolves when a message may be sent; the caller must call `release` later. Rejects when `close` is called first.
   */
  enter(isBulk: boolean): Promise<void> {
    if (this.#closed) return Promise.reject(this.#closed.reason);
    return new Promise((resolve, reject) => {
      (isBulk ? this.#bulk : this.#urgent).push({ resolve, reject });
      if (this.#assigned === 0) this.#assign();
    });
  }

  release(): void {
    this.#used -= 1;
    this.#assign();
  }

  #assign(): void {
    while (this.#used < this.#size) {
      const next = this.#urgent.shift() ?? this.#bulk.shift();
      if (!next) return;
      this.#used += 1;
      this.#assigned += 1;
      next.resolve();
      // This microtask runs directly after the code that waited for this place.
      queueMicrotask(() => {
        this.#assigned -= 1;
        if (this.#assigned === 0) this.#assign();
      });
    }
  }

  close(reason: Error): void {
    this.#closed ??= { reason };
    for (const { reject } of [...this.#urgent.splice(0), ...this.#bulk.splice(0)]) reject(reason);
  }
}

interface PendingRequest {
  /** Name of the expected answer in the error text: `acknowledgement` or `subscription`. */
  readonly answer: string;
  readonly sinceMonoMs: number;
  readonly fail: (error: Error) => void;
  place: number;
}

export interface PendingRequestsOptions {
  readonly ackTimeoutMs: number;
  /** host:port, for the error of a timeout. */
  readonly broker: string;
  /** Called when the oldest request has waited for `ackTimeoutMs`. */
  readonly onTimeout: (reason: string) => void;
}

/**
 * The requests of one connection that the broker has not answered yet. Each request settles: by its answer, its
 * timeout, or `failAll`.
 */
export class PendingRequests {
  readonly #options: PendingRequestsOptions;
  readonly #clock: Clock;
  readonly #pending = new InFlight<PendingRequest>();
  #timer: NodeJS.Timeout | null = null;

  constructor(options: PendingRequestsOptions, clock: Clock) {
    this.#options = options;
    this.#clock = clock;
  }

  get size(): number {
    return this.#pending.size;
  }

  /** Sends a request and waits for its answer. `onSettled` gets the round-trip time, ms; null after a failure. */
  run<T>(
    answer: string,
    send: (done: (error: Error | null, value?: T) => void) => void,
    onSettled?: (roundTripMs: number | null) => void,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const sinceMonoMs = this.#clock.monoMs();
      const request: PendingRequest = {
        answer,
        sinceMonoMs,
        place: -1,
        fail: (error) => {
          if (!this.#pending.delete(request)) return;
          onSettled?.(null);
          reject(error);
        },
      };
      this.#pending.add(request);
      this.#timer ??= setTimeout(this.#checkOldest, this.#options.ackTimeoutMs);
      send((error, value) => {
        if (!this.#pending.delete(request)) return;
        onSettled?.(error ? null : this.#clock.monoMs() - sinceMonoMs);
        if (error) reject(error);
        else resolve(value as T);
      });
    });
  }

  failAll(error: Error): void {
    if (this.#timer) clearTimeout(this.#timer);
    for (const { fail } of this.#pending.all()) fail(error);
  }

  /** All requests have the same timeout, so one timer for the oldest is sufficient. */
  readonly #checkOldest = (): void => {
    this.#timer = null;
    const { ackTimeoutMs, broker, onTimeout } = this.#options;
    const oldest = this.#pending
      .all()
      .reduce<PendingRequest | null>((a, b) => (a && a.sinceMonoMs <= b.sinceMonoMs ? a : b), null);
    if (!oldest) return;
    const leftMs = oldest.sinceMonoMs + ackTimeoutMs - this.#clock.monoMs();
    if (leftMs > 0) {
      this.#timer = setTimeout(this.#checkOldest, Math.ceil(leftMs));
      return;
    }
    const reason = `the broker sent no ${oldest.answer} in time`;
    oldest.fail(new AgentError('mqtt_timeout', reason, { context: { broker } }));
    onTimeout(reason);
  };
}
